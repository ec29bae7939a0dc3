// A command with 1 GiB of output, through the SSH client and a dropbear of this host.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { connectGuest } from '../../src/guest/connect-guest.ts';
import { startSshServer } from '../support/ssh-server.ts';

/** Command with 1 GiB of output */
const OUTPUT = 'yes 0123456789 | head -c 1073741824';
const MEMORY_BYTES = 96 * 2 ** 20;

test('1 GiB of output is whole, and its memory bounded', async () => {
  await using server = startSshServer();
  await using guest = await connectGuest(server);
  const before = process.memoryUsage().rss;
  const hash = createHash('sha256');
  let largest = 0;
  const onStdout = (bytes: Buffer): void => {
    hash.update(bytes);
    largest = Math.max(largest, process.memoryUsage.rss());
  };
  const { stdout } = await guest.exec(`${OUTPUT} | sha256sum`);
  const { exitCode } = await guest.exec(OUTPUT, { onStdout });
  assert.equal(exitCode, 0);
  assert.equal(hash.digest('hex'), stdout.slice(0, 64));
  assert.ok(largest - before < MEMORY_BYTES, `${largest - before}`);
});
