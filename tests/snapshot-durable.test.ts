// A snapshot and a power failure, which is simulated by a copy of the disk below a file system.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertStatus } from './support/answers.ts';
import { boot } from './support/boot.ts';
import { makeImage } from './support/images.ts';
import { openShell } from './support/shell.ts';
import { ptyOf } from './support/vm-info.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const GIB = 2 ** 30;

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** A mounted file system in a file, which writes data without fsync(2) after five minutes. Needs root and loop devices. */
function mounted(image: string, at: string): AsyncDisposable {
  mkdirSync(at);
  run('mount', '-o', 'loop,commit=300', image, at);
  // a QEMU whose VMM was killed may still be exiting
  const unmounted = (): boolean => spawnSync('umount', [at]).status === 0;
  return { [Symbol.asyncDispose]: () => until(`${at} is unmounted`, unmounted) };
}

/** Copies the disk: the state that the next start finds. */
function cut(disk: string, copy: string): string {
  run('cp', '--sparse=always', disk, copy);
  return copy;
}

async function snapshot(vmm: TestVmm, folder: string, durable: boolean): Promise<void> {
  mkdirSync(folder);
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${folder}`, durable }), 204);
}

test('after a power cut a durable snapshot is whole, any other is incomplete', async () => {
  const home = makeFolder();
  const disk = join(home, 'disk');
  makeImage(disk, GIB);
  run('mkfs.ext4', '-q', '-F', disk);
  try {
    await using _before = mounted(disk, join(home, 'before'));
    await using vmm = await startVmm();
    using shell = await boot(vmm);
    await shell.run('echo kept > /tmp/file');
    assertStatus(await vmm.put('vm.pause'), 204);

    await snapshot(vmm, join(home, 'before', 'hasty'), false);
    {
      await using _after = mounted(cut(disk, join(home, 'cut 1')), join(home, 'after 1'));
      assert.equal(existsSync(join(home, 'after 1', 'hasty', 'manifest.json')), false);
    }
    await snapshot(vmm, join(home, 'before', 'durable'), true);
    await using _after = mounted(cut(disk, join(home, 'cut 2')), join(home, 'after 2'));
    await using restored = await startVmm();
    const source_url = `file://${join(home, 'after 2', 'durable')}`;
    assertStatus(await restored.put('vm.restore', { source_url, resume: true }), 204);
    using other = openShell(await ptyOf(restored));
    assert.equal(await other.run('cat /tmp/file'), 'kept');
  } finally {
    rmSync(home, { recursive: true });
  }
});
