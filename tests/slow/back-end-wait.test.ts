// Back-ends that never start: the whole wait of a minute, for devices on a socket.
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from '../support/answers.ts';
import { guestConfig } from '../support/guest.ts';
import { childrenOf } from '../support/processes.ts';
import { startVmm } from '../support/vmm.ts';

const MEMORY = { size: 256 * 2 ** 20, shared: true };
const PATIENCE_MS = 60_000;

for (const [what, part] of [
  ['fs _fs0', (socket: string) => ({ fs: [{ tag: 'shared', socket }] })],
  ['disk _disk0', (socket: string) => ({ disks: [{ vhost_user: true, vhost_socket: socket }] })],
] as const) {
  test(`${what}: the boot waits a minute for the back-end, then names the socket`, async () => {
    await using vmm = await startVmm();
    const socket = join(vmm.folder, 'never, "é"');
    const files = readdirSync(vmm.folder);
    assertStatus(await vmm.put('vm.create', guestConfig({ memory: MEMORY, ...part(socket) })), 204);
    const asked = performance.now();
    const answer = await vmm.put('vm.boot');
    const waited = performance.now() - asked;
    assertStatus(answer, 500);
    assert.deepEqual(answer.json, [
      'vm.boot failed',
      `${what}: ${socket}: no such socket (waited 60 s for it)`,
    ]);
    assert.ok(waited >= PATIENCE_MS, `only ${waited} ms`);
    assert.deepEqual(childrenOf(vmm.pid), []);
    assert.deepEqual(readdirSync(vmm.folder), files);
    assert.equal(existsSync(socket), false);
  });
}
