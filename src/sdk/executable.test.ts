import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LaunchError } from './errors.ts';
import { findExecutable } from './executable.ts';
import { startVmm } from './vmm-process.ts';

const folder = mkdtempSync(join(tmpdir(), 'nephos, "exe" é-'));
after(() => rmSync(folder, { recursive: true }));

test('a program is found by its path, and by its name on the PATH', () => {
  const path = join(folder, 'program');
  writeFileSync(path, '#!/bin/sh\n');
  chmodSync(path, 0o755);
  assert.equal(findExecutable(path), path);
  assert.match(findExecutable('sh'), /\/sh$/);
});

test('a launch with a program that cannot be executed names it and the reason', async () => {
  const plain = join(folder, 'plain');
  writeFileSync(plain, 'x');
  chmodSync(plain, 0o644);
  for (const [executable, reason] of [
    [join(folder, 'none'), 'no such file or directory'],
    [join(plain, 'below'), 'not a directory'],
    [folder, 'is no file'],
    [plain, 'is not executable: permission denied'],
    ['no-such-program', 'not found on the PATH'],
    ['', 'not found on the PATH'],
  ] as const) {
    await assert.rejects(startVmm({ executable }), (error) => {
      assert.ok(error instanceof LaunchError);
      assert.equal(error.message, `the VMM did not start: ${executable}: ${reason}`);
      return true;
    });
  }
});
