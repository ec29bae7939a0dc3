// Directories of the host that the VMM serves as file systems of a guest.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { guestConfig } from './support/guest.ts';
import { childrenOf, descriptorsOf } from './support/processes.ts';
import { startVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

test('vm.boot names a directory that cannot be served, and leaves nothing', async (t) => {
  await using vmm = await startVmm();
  const missing = join(vmm.folder, 'no, "é"=');
  const file = join(vmm.folder, 'file');
  writeFileSync(file, '');
  const before = descriptorsOf(vmm.pid).length;
  const cases: readonly [name: string, directory: string, reason: string][] = [
    ['a missing one', missing, 'no such file or directory'],
    ['a file', file, 'not a directory'],
    ['one below a file', join(file, 'x'), 'not a directory'],
  ];
  for (const [name, directory, reason] of cases) {
    await t.test(name, async () => {
      assertStatus(await vmm.put('vm.create', guestConfig({ fs: [{ tag: 'src', directory }] })), 204);
      assertRefused(await vmm.put('vm.boot'), 500, `fs _fs0: directory ${directory}: ${reason}`);
      assertStatus(await vmm.put('vm.delete'), 204);
      assert.deepEqual(childrenOf(vmm.pid), []);
      await until('nothing is left open', () => descriptorsOf(vmm.pid).length <= before);
    });
  }
});

test('vm.create names each option that does not fit', async (t) => {
  await using vmm = await startVmm();
  const directory = join(vmm.folder, 'shared');
  mkdirSync(directory);
  const share = { tag: 'src', directory };
  const daemon = { tag: 'src', socket: '/s' };
  const cases: readonly [fs: object, reason: string][] = [
    [{ tag: 'src' }, 'fs[0]: missing field "socket" or "directory"'],
    [{ ...share, socket: '/s' }, 'fs[0]: socket and directory are both given'],
    [{ ...daemon, readonly: true }, 'fs[0].readonly: needs directory'],
    [{ ...daemon, xattr: true }, 'fs[0].xattr: needs directory'],
    [{ ...share, cache: 'alwys' }, 'fs[0].cache: expected one of auto, always, never, got "alwys"'],
    [{ ...share, uid_map: '0:0' }, 'fs[0].uid_map: expected <guest>:<host>:<count>'],
    [{ ...share, gid_map: 7 }, 'fs[0].gid_map: expected a string, got 7'],
    [{ ...share, directory: 'a\0b' }, 'fs[0].directory: expected a string without NUL characters'],
  ];
  for (const [fs, reason] of cases) {
    await t.test(reason, async () => {
      assertRefused(await vmm.put('vm.create', guestConfig({ fs: [fs] })), 400, reason);
    });
  }
});
