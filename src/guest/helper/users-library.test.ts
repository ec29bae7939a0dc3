import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { linkUsersLibrary } from './users-library.ts';

const skip = process.arch !== 'x64' || process.platform !== 'linux';

test('the library of the SFTP server has an entry for root alone', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'users-'));
  try {
    const library = join(folder, 'users.so');
    writeFileSync(library, linkUsersLibrary());
    const env = { ...process.env, LD_PRELOAD: library };
    const entryOf = (user: string): string =>
      spawnSync('getent', ['passwd', user], { env, encoding: 'utf8' }).stdout;
    assert.equal(entryOf('0'), 'root::0:0:root:/:/\n');
    // 1 is daemon on each Linux
    assert.equal(entryOf('1'), '');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
