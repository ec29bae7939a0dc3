// npm run demo.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

test('npm run demo boots a guest, asks it, shuts it down and says how long it took', async () => {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['build/scripts/demo.js'], {
    timeout: 150_000,
  });
  // the log names the PTY of the console, and emulation
  const expected = /^$| INFO:console -- serial: PTY \/| WARN:accel -- running under emulation/;
  assert.deepEqual(
    stderr.split('\n').filter((line) => !expected.test(line)),
    [],
  );
  // only a running Linux can give this answer
  assert.match(stdout, /^Linux nephos 6\.\S+ .*x86_64/m);
  assert.match(stdout, /^42\r?$/m);
  assert.match(stdout, /^state +Running$/m);
  assert.match(stdout, /the VMM exited with 0/);
  assert.match(stdout, /^boot to login +\d+\.\d{3} s$/m);
});
