// Figures for Prometheus, and their changes.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { makeImage } from './support/images.ts';
import { makeFolder, startVmm } from './support/vmm.ts';

const MIB = 2 ** 20;

interface Page {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly text: string;
}

async function ask(socketPath: string, path = '/metrics', method = 'GET'): Promise<Page> {
  const outgoing = request({ socketPath, path, method, agent: false }).end();
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  let text = '';
  for await (const part of incoming.setEncoding('utf8')) text += String(part);
  return { status: incoming.statusCode, type: incoming.headers['content-type'], text };
}

/** Every figure by its name and labels; the format is that of Prometheus' documentation. */
async function figuresOf(socket: string): Promise<Map<string, number>> {
  const { status, type, text } = await ask(socket);
  assert.deepEqual([status, type], [200, 'text/plain; version=0.0.4; charset=utf-8']);
  const figures = new Map<string, number>();
  for (const line of text.split('\n').filter((one) => one !== '' && !one.startsWith('# '))) {
    const match = /^([a-z_:]+(?:\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})?) (\S+)$/.exec(line);
    assert.ok(match !== null && !Number.isNaN(Number(match[2])), line);
    figures.set(match[1] ?? '', Number(match[2]));
  }
  return figures;
}

test('figures of a VM without a VM, at boot and after changes', async () => {
  const folder = makeFolder();
  const socket = join(folder, 'figures, "é"');
  await using vmm = await startVmm({ args: ['--metrics', `path=${socket}`] });
  assert.equal(statSync(socket).mode & 0o077, 0);
  const none = await figuresOf(socket);
  assert.equal(none.get('nephos_vm_state{state="none"}'), 1);
  assert.equal(none.get('nephos_vm_memory_bytes'), 0);
  assert.ok(!none.has('nephos_process_resident_memory_bytes{process="engine"}'));

  const disk = join(vmm.folder, 'disk.raw');
  makeImage(disk, 64 * MIB);
  assertStatus(await vmm.put('vm.pause'), 404);
  using shell = await boot(vmm, {
    cpus: { boot_vcpus: 1, max_vcpus: 3 },
    memory: { size: 256 * MIB },
    disks: [{ path: disk, id: 'd' }],
  });
  const before = await figuresOf(socket);
  assert.equal(before.get('nephos_vm_state{state="Running"}'), 1);
  assert.equal(before.get('nephos_vm_state{state="none"}'), 0);
  assert.equal(before.get('nephos_vm_vcpus{kind="current"}'), 1);
  assert.equal(before.get('nephos_vm_vcpus{kind="max"}'), 3);
  assert.equal(before.get('nephos_vm_memory_bytes'), 256 * MIB);
  assert.equal(before.get('nephos_api_request_duration_seconds_count{endpoint="vm.boot",outcome="ok"}'), 1);
  assert.equal(
    before.get('nephos_api_request_duration_seconds_count{endpoint="vm.pause",outcome="no-vm"}'),
    1,
  );
  assert.equal(before.get('nephos_events_total{source="vm",event="booted"}'), 1);
  for (const process of ['vmm', 'engine']) {
    assert.ok((before.get(`nephos_process_resident_memory_bytes{process="${process}"}`) ?? 0) > 20 * MIB);
    assert.ok((before.get(`nephos_process_cpu_seconds_total{process="${process}"}`) ?? 0) > 0.05);
  }

  await shell.run('dd if=/dev/vda of=/dev/null bs=1M count=16 iflag=direct');
  const after = await figuresOf(socket);
  const read = 'nephos_device_read_bytes_total{device="d"}';
  assert.equal((after.get(read) ?? 0) - (before.get(read) ?? 0), 16 * MIB);
  assertStatus(await vmm.put('vm.pause'), 204);
  assert.equal((await figuresOf(socket)).get('nephos_vm_state{state="Paused"}'), 1);

  assert.equal((await ask(socket, '/')).status, 404);
  assert.equal((await ask(socket, '/metrics', 'PUT')).status, 405);
  assertStatus(await vmm.put('vmm.shutdown'), 204);
  assert.equal(await vmm.exited, 0);
  assert.ok(!existsSync(socket));
});

test('--metrics replaces the socket of a killed VMM, and refuses a file', async () => {
  const folder = makeFolder();
  const socket = join(folder, 'figures');
  {
    await using killed = await startVmm({ args: ['--metrics', socket] });
    killed.kill('SIGKILL');
    await killed.exited;
  }
  assert.ok(existsSync(socket));
  await using again = await startVmm({ args: ['--metrics', socket] });
  assert.equal((await figuresOf(socket)).get('nephos_vm_state{state="none"}'), 1);
  const file = join(folder, 'file');
  writeFileSync(file, 'a file of the user');
  await using refused = await startVmm({ api: false, args: ['--metrics', file] });
  assert.equal(await refused.exited, 1);
  assert.match(
    refused.output(),
    /Failed to serve --metrics: Cannot listen on the socket for metrics .*not a socket/,
  );
  assert.ok(existsSync(file) && again.exitCode() === null);
});
