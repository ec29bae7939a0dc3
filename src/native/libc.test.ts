import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

/** Ends a process that loads a native library. */
const HOOK = `process.dlopen = (_module, path) => {
  process.stderr.write('loaded ' + path);
  process.reallyExit(99);
};`;

for (const [module, ...args] of [
  ['../main.js', '--version'],
  ['../main.js', '--help'],
  ['../cli/remote.js', '--help'],
  ['../sdk/index.js'],
]) {
  test(`the C library is not loaded by ${module} ${args.join(' ')}`, () => {
    const folder = mkdtempSync(join(tmpdir(), 'libc-'));
    try {
      const hook = join(folder, 'hook.cjs');
      writeFileSync(hook, HOOK);
      const program = fileURLToPath(new URL(module ?? '', import.meta.url));
      // output to a socket, as the pipes of Node are, is sent by a call of the C library
      const stdio = ['ignore', 'ignore', 'pipe'] as const;
      const { status, stderr } = spawnSync(process.execPath, ['--require', hook, program, ...args], {
        stdio: [...stdio],
      });
      assert.equal(status, 0, String(stderr));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}
