// Port forwards with host_port 0, whose ports QEMU chooses, also in clones.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { untilReceiving } from './support/migration.ts';
import { openShell, type Shell } from './support/shell.ts';
import { takeSnapshot } from './support/snapshots.ts';
import { infoOf, ptyOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

/** The host's ports of a network's forwards, as vm.info shows them. */
async function portsOf(vmm: TestVmm, id: string): Promise<number[]> {
  const { net } = (await infoOf(vmm)).config;
  return net?.find((one) => one.id === id)?.forwards?.map(({ host_port: port }) => port) ?? [];
}

/** Returns all that a port of this host sends until it closes; empty where nothing listens. */
async function readFrom(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1').setEncoding('utf8');
  let text = '';
  try {
    for await (const part of socket) text += String(part);
  } catch {
    return '';
  }
  return text;
}

/** Lets the guest answer on its port 7, with the content of /name. */
async function serve(shell: Shell, address: string, name: string): Promise<void> {
  await shell.run(`ip addr add ${address}/24 dev eth0; ip link set eth0 up; echo ${name} > /name`);
  await shell.run('(while :; do nc -l -p 7 < /name; done) > /dev/null 2>&1 & true');
}

function answers(port: number, name: string): Promise<void> {
  return until(`${name} answers on port ${port}`, async () => (await readFrom(port)).trim() === name);
}

/** Sockets of the host that listen on a port. */
async function occupy(): Promise<{ port: number; [Symbol.asyncDispose]: () => Promise<void> }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}

test('port forwards with host_port 0', async () => {
  await using vmm = await startVmm();
  const chosen = { host_port: 0, guest_port: 7 };
  const udp = { protocol: 'udp', host_address: '127.0.0.2', host_port: 0, guest_port: 53 };
  {
    using shell = await boot(vmm, {
      net: [{ id: 'nat', backend: 'user', ip: '10.93.1.1', forwards: [chosen, udp, chosen] }],
    });
    const ports = await portsOf(vmm, 'nat');
    assert.equal(new Set(ports).size, 3);
    assert.ok(
      ports.every((port) => port > 0),
      String(ports),
    );
    const listens = `0200007F:${(ports[1] ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
    assert.ok(readFileSync('/proc/net/udp', 'utf8').includes(listens));
    assertStatus(await vmm.put('vm.reboot'), 204);
    await shell.login();
    assert.deepEqual(await portsOf(vmm, 'nat'), ports);
    await serve(shell, '10.93.1.15', 'first');
    for (const port of [ports[0], ports[2]]) await answers(port ?? 0, 'first');
    const added = { id: 'later', backend: 'user', ip: '10.93.2.1', forwards: [chosen] };
    assertStatus(await vmm.put('vm.add-net', added), 200);
    const [later = 0] = await portsOf(vmm, 'later');
    assert.ok(later > 0 && !ports.includes(later));
  }
  const folder = join(vmm.folder, 'snapshot');
  await takeSnapshot(vmm, folder);
  assertStatus(await vmm.put('vm.resume'), 204);

  const clone = async (name: string, overrides?: object, source = folder): Promise<TestVmm> => {
    const one = await startVmm();
    const request = { source_url: `file://${source}`, resume: true, overrides };
    assertStatus(await one.put('vm.restore', request), 204);
    using shell = openShell(await ptyOf(one));
    await shell.run(`echo ${name} > /name`);
    return one;
  };
  await using taken = await occupy();
  // config.json may be edited as well
  const edited = join(vmm.folder, 'edited');
  cpSync(folder, edited, { recursive: true });
  const path = join(edited, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as { net: { id: string; forwards: unknown }[] };
  for (const one of config.net) if (one.id === 'nat') one.forwards = [chosen];
  writeFileSync(path, JSON.stringify(config));

  const forwards = [{ host_port: 0, guest_port: 7 }];
  const made = await Promise.all([
    clone('second'),
    clone('third', { net: [{ id: 'nat', forwards }] }),
    clone('fourth', undefined, edited),
  ]);
  try {
    const ports = await Promise.all([vmm, ...made].map((one) => portsOf(one, 'nat')));
    assert.deepEqual(
      ports.map(({ length }) => length),
      [3, 3, 1, 1],
    );
    assert.equal(new Set(ports.flat()).size, 8);
    // each guest at once
    await Promise.all(
      ['first', 'second', 'third', 'fourth'].map((name, i) => answers(ports[i]?.[0] ?? 0, name)),
    );
    // a port that is in use, and a network that is not in user mode
    const other = await startVmm();
    made.push(other);
    const fixed = [{ host_port: taken.port, guest_port: 7 }];
    const source_url = `file://${folder}`;
    const refused = await other.put('vm.restore', {
      source_url,
      overrides: { net: [{ id: 'nat', forwards: fixed }] },
    });
    assertStatus(refused, 500);
    assert.match(
      String(refused.json),
      new RegExp(`net nat: forward: 127.0.0.1:${taken.port} \\(tcp\\) is in use`),
    );
    // the refusals have left nothing: the same VMM boots the VM of `second`
    const [second] = made;
    assert.ok(second !== undefined);
    const url = `unix:${join(vmm.folder, 'migration')}`;
    const received = other.put('vm.receive-migration', { receiver_url: url });
    await untilReceiving(other, url);
    assertStatus(await second.put('vm.send-migration', { destination_url: url }), 204);
    assertStatus(await received, 204);
    const [port = 0, , again = 0] = await portsOf(other, 'nat');
    // the source still has its ports
    assert.ok(port > 0 && !ports.flat().includes(port));
    await answers(port, 'second');
    await answers(again, 'second');
  } finally {
    await Promise.all(made.map((one) => one[Symbol.asyncDispose]()));
  }
});
