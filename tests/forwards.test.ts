// Port forwards with host_port 0, whose ports QEMU chooses, also in clones.
import assert from 'node:assert/strict';
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { migrate } from './support/migration.ts';
import { listenOnPort, readFromPort } from './support/ports.ts';
import { openShell, type Shell } from './support/shell.ts';
import { editConfig, takeSnapshot } from './support/snapshots.ts';
import { infoOf, ptyOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

/** The host's ports of a network's forwards, as vm.info shows them. */
async function portsOf(vmm: TestVmm, id: string): Promise<number[]> {
  const { net } = (await infoOf(vmm)).config;
  return net?.find((one) => one.id === id)?.forwards?.map(({ host_port: port }) => port) ?? [];
}

/** Lets the guest answer on its port 7, with the content of /name. */
async function serve(shell: Shell, address: string, name: string): Promise<void> {
  await shell.run(`ip addr add ${address}/24 dev eth0; ip link set eth0 up; echo ${name} > /name`);
  await shell.run('(while :; do nc -l -p 7 < /name; done) > /dev/null 2>&1 & true');
}

function answers(port: number, name: string): Promise<void> {
  return until(`${name} answers on port ${port}`, async () => (await readFromPort(port)).trim() === name);
}

const CHOSEN = { host_port: 0, guest_port: 7 };
const UDP = { protocol: 'udp', host_address: '127.0.0.2', host_port: 0, guest_port: 53 };

test('port forwards with host_port 0', async (t) => {
  await using vmm = await startVmm();
  using shell = await boot(vmm, {
    net: [{ id: 'nat', backend: 'user', ip: '10.93.1.1', forwards: [CHOSEN, UDP, CHOSEN] }],
  });
  const ports = await portsOf(vmm, 'nat');
  await t.test('vm.info shows a port of its own for each forward', () => {
    assert.equal(new Set(ports).size, 3);
    assert.ok(
      ports.every((port) => port > 0),
      String(ports),
    );
  });
  await t.test('a forward of UDP listens at its host_address', () => {
    const listens = `0200007F:${(ports[1] ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
    assert.ok(readFileSync('/proc/net/udp', 'utf8').includes(listens));
  });
  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  await t.test('the ports stay over a reboot', async () => {
    assert.deepEqual(await portsOf(vmm, 'nat'), ports);
  });
  await serve(shell, '10.93.1.15', 'first');
  await t.test('the ports reach the guest', async () => {
    for (const port of [ports[0], ports[2]]) await answers(port ?? 0, 'first');
  });
  await t.test('a hot-plugged network has another port', async () => {
    const added = { id: 'later', backend: 'user', ip: '10.93.2.1', forwards: [CHOSEN] };
    assertStatus(await vmm.put('vm.add-net', added), 200);
    const [later = 0] = await portsOf(vmm, 'later');
    assert.ok(later > 0 && !ports.includes(later));
  });
  const folder = await takeSnapshot(vmm);
  assertStatus(await vmm.put('vm.resume'), 204);
  await restoresClones(t, vmm, folder);
});

/** Restores a snapshot, resumes it and names its guest. */
async function clone(name: string, folder: string, overrides?: object): Promise<TestVmm> {
  const vmm = await startVmm();
  const request = { source_url: `file://${folder}`, resume: true, overrides };
  assertStatus(await vmm.put('vm.restore', request), 204);
  using shell = openShell(await ptyOf(vmm));
  await shell.run(`echo ${name} > /name`);
  return vmm;
}

async function restoresClones(t: TestContext, vmm: TestVmm, folder: string): Promise<void> {
  const edited = join(vmm.folder, 'edited');
  cpSync(folder, edited, { recursive: true });
  editConfig(edited, ({ net, ...rest }) => ({
    ...rest,
    net: net?.map((one) => (one.id === 'nat' ? { ...one, forwards: [CHOSEN] } : one)),
  }));
  const made = await Promise.all([
    clone('second', folder),
    clone('third', folder, { net: [{ id: 'nat', forwards: [CHOSEN] }] }),
    clone('fourth', edited),
  ]);
  try {
    const ports = await Promise.all([vmm, ...made].map((one) => portsOf(one, 'nat')));
    await t.test('clones have the forwards of snapshot, override or edited config.json', () => {
      assert.deepEqual(
        ports.map(({ length }) => length),
        [3, 3, 1, 1],
      );
    });
    await t.test('no two VMs have a port in common', () => assert.equal(new Set(ports.flat()).size, 8));
    await t.test('source and clones answer at the same time', async () => {
      const names = ['first', 'second', 'third', 'fourth'];
      await Promise.all(names.map((name, i) => answers(ports[i]?.[0] ?? 0, name)));
    });
    const other = await startVmm();
    made.push(other);
    await t.test('a port in use is refused in a restore', () => refusesPort(other, folder));
    await t.test('a live migration has ports of its own', async () => {
      // the destination is the VMM whose restore was refused: nothing is left of it
      await migrate(made[0] ?? assert.fail(), other, `unix:${join(vmm.folder, 'migration')}`);
      const [port = 0, , again = 0] = await portsOf(other, 'nat');
      // the source still has its ports
      assert.ok(port > 0 && !ports.flat().includes(port));
      await answers(port, 'second');
      await answers(again, 'second');
    });
  } finally {
    await Promise.all(made.map((one) => one[Symbol.asyncDispose]()));
  }
}

async function refusesPort(vmm: TestVmm, folder: string): Promise<void> {
  await using taken = await listenOnPort();
  const forwards = [{ host_port: taken.port, guest_port: 7 }];
  const request = { source_url: `file://${folder}`, overrides: { net: [{ id: 'nat', forwards }] } };
  const reason = new RegExp(`net nat: forward: 127.0.0.1:${taken.port} \\(tcp\\) is in use`);
  assertRefused(await vmm.put('vm.restore', request), 500, reason);
}
