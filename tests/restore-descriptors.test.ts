// TAPs that are sent with vm.restore: each clone gets one of its own.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { VirtualMachine } from '../src/sdk/index.ts';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { connectSending, sendAtOnce, sendInParts, type SentRequest } from './support/descriptors.ts';
import { descriptorsOf } from './support/processes.ts';
import { openShell, type Shell, shellOn } from './support/shell.ts';
import { takeSnapshot } from './support/snapshots.ts';
import { openTap } from './support/tap.ts';
import { ptyOf } from './support/vm-info.ts';
import { REPO, startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const HOST = '10.78.1.1';
const GUEST = '10.78.1.2';

type Tap = ReturnType<typeof openTap>;

const taps = (pid: number): number => descriptorsOf(pid).filter((path) => path === '/dev/net/tun').length;

/** The guest reaches the host through this TAP and no other. */
async function reaches(shell: Shell, tap: Tap): Promise<void> {
  execFileSync('ip', ['addr', 'add', `${HOST}/24`, 'dev', tap.name]);
  try {
    assert.match(await shell.run(`ping -c 1 -w 20 ${HOST}`), / 0% packet loss/);
  } finally {
    execFileSync('ip', ['addr', 'del', `${HOST}/24`, 'dev', tap.name]);
  }
}

/** A snapshot of a guest with two networks on sent TAPs, and without them on the host. */
async function makeSnapshot(vmm: TestVmm): Promise<string> {
  using one = openTap(1);
  using two = openTap(2);
  {
    using client = connectSending(vmm.socket);
    using shell = await boot(vmm, { cpus: { boot_vcpus: 2, max_vcpus: 2 } });
    for (const [id, { fds }] of Object.entries({ one, two })) {
      sendAtOnce(client, 'vm.add-net', { body: { id }, fds });
      assert.match(await client.answer(), /^HTTP\/1\.1 200 /);
    }
    await until('both are there', async () => (await shell.run('ls /sys/class/net')).includes('eth1'));
    await shell.run(`ip addr add ${GUEST}/24 dev eth0; ip link set eth0 up; ip link set eth1 up`);
  }
  const folder = join(vmm.folder, 'snapshot');
  await takeSnapshot(vmm, folder);
  assertStatus(await vmm.put('vm.delete'), 204);
  return folder;
}

test('vm.restore with TAPs that are sent', async () => {
  await using source = await startVmm();
  const folder = await makeSnapshot(source);
  const body = {
    source_url: `file://${folder}`,
    resume: true,
    net_fds: [
      { id: 'two', num_fds: 2 },
      { id: 'one', num_fds: 1 },
    ],
  };

  await using vmm = await startVmm();
  using client = connectSending(vmm.socket);
  for (const send of [sendAtOnce, sendInParts]) {
    using one = openTap(1);
    using two = openTap(2);
    const request: SentRequest = { body, fds: [...two.fds, ...one.fds] };
    send(client, 'vm.restore', request);
    assert.match(await client.answer(), /^HTTP\/1\.1 204 /);
    {
      using shell = openShell(await ptyOf(vmm));
      await reaches(shell, one);
    }
    assert.equal(taps(vmm.pid), 3);
    // descriptors of a request that an existing VM refuses are closed
    send(client, 'vm.restore', request);
    assert.match(await client.answer(), /^HTTP\/1\.1 40[45] /);
    await until('they are closed, a moment after the answer', () => taps(vmm.pid) === 3);
    assertStatus(await vmm.put('vm.delete'), 204);
    assert.equal(taps(vmm.pid), 0);
  }

  using one = openTap(1);
  using two = openTap(2);
  for (const [change, fds, status, message] of [
    [{}, one.fds, 400, 'net_fds: 1 descriptors came with the request, 3 are asked for'],
    [{}, [], 400, 'net_fds: network "two" needs 2 descriptors, 0 are there'],
    [{ net_fds: [] }, one.fds, 400, 'net_fds: 1 descriptors came with the request, 0 are asked for'],
    [{ net_fds: [{ id: 'none', num_fds: 1 }] }, one.fds, 404, 'the snapshot has no device "none"'],
    [{ net_fds: [{ id: 'two', num_fds: 1 }] }, one.fds, 400, 'net[1]'],
  ] as const) {
    sendAtOnce(client, 'vm.restore', { body: { ...body, ...change }, fds });
    const answer = await client.answer();
    assert.ok(answer.startsWith(`HTTP/1.1 ${status} `), answer);
    assert.ok(
      JSON.parse(answer.slice(answer.indexOf('[')))
        .join()
        .includes(message),
      answer,
    );
    assert.equal(taps(vmm.pid), 0);
  }

  // ch-remote sends descriptors that it has open
  const words = `source_url=file://${folder},resume=on,net_fds=[one@[3],two@[4,5]]`;
  const remote = spawnSync(
    process.execPath,
    [join(REPO, 'bin/ch-remote'), '--api-socket', vmm.socket, 'restore', words],
    { stdio: ['ignore', 'pipe', 'pipe', ...one.fds, ...two.fds], encoding: 'utf8' },
  );
  assert.deepEqual([remote.stderr, remote.status], ['', 0]);
  using shell = openShell(await ptyOf(vmm));
  await reaches(shell, one);
});

test('the SDK sends TAPs with a restore', async () => {
  await using source = await startVmm();
  const folder = await makeSnapshot(source);
  using one = openTap(1);
  using two = openTap(2);
  await using vm = await VirtualMachine.restore(folder, { netFds: { one: one.fds, two: two.fds } });
  const { serial } = vm;
  using shell = shellOn({
    write: (text) => serial.write(text),
    onData: (take) => void serial.stream.on('data', take),
    close: () => undefined,
  });
  await reaches(shell, one);
});
