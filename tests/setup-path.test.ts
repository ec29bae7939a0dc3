// A clone may lie in a folder with any name: the set-up knows its demo guest by its scripts, wherever they are.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { makeFolder } from './support/vmm.ts';

/** Fingerprint that the set-up computes from a folder of guest scripts. */
function fingerprintOf(scripts: string): string {
  const command = '. "$1/cache.sh" && guest_fingerprint';
  // a warning on standard error is a fault as well
  return execFileSync('bash', ['-c', `set -e; { ${command}; } 2>&1`, 'bash', scripts], { encoding: 'utf8' });
}

test('the set-up works in a path with a comma, a space and quotes', () => {
  const folder = makeFolder();
  try {
    const copy = join(folder, 'a, b', 'it\'s "é"');
    cpSync(resolve('scripts', 'guest'), copy, { recursive: true });
    const fingerprint = fingerprintOf(copy);
    assert.match(fingerprint, /^\d+ \d+\n$/);
    assert.equal(fingerprint, fingerprintOf(resolve('scripts', 'guest')));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
