import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

/** Runs `--help` of a program with standard output on a full disk. */
function helpOnFullDisk(program: string): ReturnType<typeof spawnSync> {
  const fd = openSync('/dev/full', 'w');
  try {
    const path = fileURLToPath(new URL(program, import.meta.url));
    return spawnSync(process.execPath, [path, '--help'], {
      stdio: ['ignore', fd, 'pipe'],
      encoding: 'utf8',
      timeout: 60_000,
    });
  } finally {
    closeSync(fd);
  }
}

test('output that cannot be written is an error of nephos and ch-remote', () => {
  for (const [program, prefix] of [
    ['nephos/main.js', 'nephos: '],
    ['remote.js', 'Error running command: '],
  ] as const) {
    const { status, stderr } = helpOnFullDisk(program);
    assert.deepEqual([status, stderr], [1, `${prefix}standard output: no space left on device\n`]);
  }
});
