import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { openPty } from './pty.ts';

test('bytes go through a PTY unchanged, both ways, and a reader may come late', async () => {
  const pty = await openPty();
  try {
    assert.ok(statSync(pty.path).isCharacterDevice());
    assert.match(execFileSync('stty', ['-F', pty.path, '-a'], { encoding: 'utf8' }), /-icanon.*-echo/s);
    pty.write(Buffer.from('early\r\n'));
    const typed = new Promise<string>((resolve) => pty.onInput((bytes) => resolve(bytes.toString('utf8'))));
    const client = openSync(pty.path, 'r+');
    const seen = Buffer.alloc(64);
    assert.equal(seen.subarray(0, readSync(client, seen)).toString('utf8'), 'early\r\n');
    writeSync(client, 'root\n\u0003');
    assert.equal(await typed, 'root\n\u0003');
    closeSync(client);
  } finally {
    pty.dispose();
  }
});

test('a PTY that nobody reads never blocks the VMM', async () => {
  const pty = await openPty();
  try {
    for (let i = 0; i < 1000; i++) pty.write(Buffer.alloc(1024, 65));
  } finally {
    pty.dispose();
  }
});
