// A VMM without capabilities: the error names a file that it may not open, and no resource is left.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus, messagesOf } from './support/answers.ts';
import { guestConfig } from './support/guest.ts';
import { interfaceName, interfaces, withInterface } from './support/host-network.ts';
import { makeImage } from './support/images.ts';
import { childrenOf, descriptorsOf } from './support/processes.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;
/** Capabilities without which root has the permissions of other users for files and interfaces. */
const WITHOUT = '-net_admin,-dac_override,-dac_read_search';

/** Makes a file that only root can read. */
function closed(vmm: TestVmm, name: string): string {
  const path = join(vmm.folder, `${name}, "é"`);
  makeImage(path, 4 * MIB, name);
  chmodSync(path, 0);
  return path;
}

test('without capabilities, files and TAPs are refused: the error says what to grant', async () => {
  const existing = interfaceName();
  using _existing = withInterface(existing, 'tuntap', 'add', 'dev', existing, 'mode', 'tap');
  await using vmm = await startVmm({
    through: ['setpriv', '--bounding-set', WITHOUT, '--inh-caps', WITHOUT, '--'],
  });
  const socket = join(vmm.folder, 'socket, "é"');
  const server = createServer().listen(socket);
  await once(server, 'listening');
  chmodSync(socket, 0);
  const refused = [...unreadable(vmm), ...unusable(vmm, socket)];
  await until('it is ready', async () => (await vmm.get('vmm.ping')).status === 200);
  const before = {
    files: readdirSync(vmm.folder),
    interfaces: interfaces(),
    open: descriptorsOf(vmm.pid).length,
  };
  const fails = async (more: object, reason: RegExp | readonly string[]): Promise<void> => {
    assertStatus(await vmm.put('vm.create', guestConfig({ ...more })), 204);
    const answer = await vmm.put('vm.boot');
    assertStatus(answer, 500);
    if (reason instanceof RegExp) assert.match(messagesOf(answer).join('\n'), reason);
    else assert.deepEqual(answer.json, reason);
    assertStatus(await vmm.put('vm.delete'), 204);
    assert.deepEqual(childrenOf(vmm.pid), []);
    assert.deepEqual(interfaces(), before.interfaces);
    await until('nothing is left open', () => descriptorsOf(vmm.pid).length <= before.open);
  };
  for (const [more, who, path] of refused) {
    await fails(more, ['vm.boot failed', `${who}${path}: permission denied`]);
  }
  const [made, host_mac] = [interfaceName(), '52:54:00:00:00:01'];
  await fails(
    { net: [{}] },
    /\nnet _net0: a TAP of its own: no right to use it: grant CAP_NET_ADMIN, let root/,
  );
  await fails(
    { net: [{ tap: made, id: 'mine' }] },
    new RegExp(
      `\nnet mine: tap ${made}: no right to use it: grant CAP_NET_ADMIN, .* add dev ${made} mode tap`,
    ),
  );
  await fails(
    { net: [{ tap: existing, host_mac }] },
    new RegExp(`tap ${existing}: its host_mac ${host_mac} could not be set: .*: grant CAP_NET_ADMIN`),
  );
  assert.deepEqual(readdirSync(vmm.folder), before.files);
  server.close();
});

type Refused = readonly [config: object, who: string, path: string];

/** A configuration for each kind of file that the VMM reads or writes, with a file that it may not. */
function unreadable(vmm: TestVmm): readonly Refused[] {
  const row = (name: string, config: (path: string) => object, who: string): Refused => {
    const path = closed(vmm, name);
    return [config(path), who, path];
  };
  return [
    row('kernel', (path) => ({ kernel: { path } }), 'kernel '),
    row('initramfs', (path) => ({ initramfs: { path } }), 'initramfs: '),
    row('disk', (path) => ({ disks: [{ path }] }), 'disk _disk0: '),
    row('readonly', (path) => ({ disks: [{ path, readonly: true, id: 'mine' }] }), 'disk mine: '),
    row('pmem', (file) => ({ pmem: [{ file }] }), 'pmem _pmem0: '),
    row('rng', (src) => ({ rng: { src } }), 'rng _rng: '),
    row(
      'zone',
      (file) => ({ memory: { size: 0, zones: [{ id: 'z', size: 256 * MIB, file, shared: true }] } }),
      'memory zone z: ',
    ),
  ];
}

/** The same for sockets to connect to, and for files in a folder without write permission. */
function unusable(vmm: TestVmm, socket: string): readonly Refused[] {
  const memory = { size: 256 * MIB, shared: true };
  const served = { vhost_user: true, vhost_socket: socket };
  const folder = join(vmm.folder, 'folder, "é"');
  mkdirSync(folder, { mode: 0o500 });
  const made = join(folder, 'made');
  const taken = closed(vmm, 'output');
  return [
    [{ memory, disks: [served] }, 'disk _disk0: ', socket],
    [{ memory, net: [served] }, 'net _net0: ', socket],
    [{ memory, fs: [{ tag: 't', socket }] }, 'fs _fs0: ', socket],
    [{ vsock: { cid: 3, socket: made } }, 'vsock _vsock0: ', made],
    [{ serial: { mode: 'File', file: made } }, 'serial _serial: ', made],
    [{ console: { mode: 'File', file: taken } }, 'console _console: ', taken],
  ];
}
