import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { memoryTree } from './memory-tree.ts';
import { serveProvider } from './service.ts';

/** Bytes of GET_FEATURES of vhost-user, and of its reply. */
const GET_FEATURES = Uint8Array.of(1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);
const REPLY_BYTES = 20;

test('a share listens in a private directory, which it removes', async () => {
  const { socket, close, ended } = await serveProvider(memoryTree());
  assert.equal(statSync(dirname(socket)).mode & 0o777, 0o700);
  assert.equal(statSync(socket).mode & 0o777, 0o600);
  await close();
  assert.equal(existsSync(dirname(socket)), false);
  await ended;
  await close();
});

test('one front-end at a time is connected, and another one after it', async () => {
  const share = await serveProvider(memoryTree());
  for (let i = 0; i < 2; i++) {
    const frontEnd = connect(share.socket);
    frontEnd.write(GET_FEATURES);
    const [reply] = await once(frontEnd, 'data');
    assert.equal(Buffer.from(reply).length, REPLY_BYTES);
    await untilFalse(() => !share.isConnected);
    const other = connect(share.socket);
    await once(other.resume(), 'close');
    frontEnd.destroy();
    await untilFalse(() => share.isConnected);
  }
  await share.close();
  await share.ended;
  assert.equal(existsSync(dirname(share.socket)), false);
});

async function untilFalse(condition: () => boolean): Promise<void> {
  while (condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

test('a closed share stays until its front-end disconnects', async () => {
  const share = await serveProvider(memoryTree());
  const frontEnd = connect(share.socket);
  frontEnd.write(GET_FEATURES);
  await once(frontEnd, 'data');
  await share.close();
  assert.equal(existsSync(share.socket), false);
  frontEnd.write(GET_FEATURES);
  assert.equal(Buffer.from((await once(frontEnd, 'data'))[0]).length, REPLY_BYTES);
  frontEnd.destroy();
  await untilFalse(() => share.isConnected);
  await share.ended;
});

test('a front-end that breaks the protocol loses its connection only', async () => {
  const faults: string[] = [];
  const share = await serveProvider(memoryTree(), { onFault: (error) => faults.push(String(error)) });
  const hostile = connect(share.socket);
  hostile.write(Buffer.alloc(12, 0xff));
  await once(hostile.resume(), 'close');
  const frontEnd = connect(share.socket);
  frontEnd.write(GET_FEATURES);
  await once(frontEnd, 'data');
  frontEnd.destroy();
  await untilFalse(() => share.isConnected);
  assert.match(faults[0] ?? '', /the connection is closed/);
  await share.close();
  await share.ended;
});

test('limits that are no positive integers are refused', async () => {
  for (const options of [
    { timeoutMs: 0 },
    { timeoutMs: Number.NaN },
    { concurrency: 1.5 },
    { concurrency: 2000 },
  ])
    await assert.rejects(serveProvider(memoryTree(), options), RangeError);
});

test('a program that exits without a close leaves no socket', () => {
  const folder = mkdtempSync(join(tmpdir(), 'share-'));
  try {
    const program = `
      import { serveProvider } from ${JSON.stringify(new URL('service.js', import.meta.url).href)};
      import { memoryTree } from ${JSON.stringify(new URL('memory-tree.js', import.meta.url).href)};
      const { socket } = await serveProvider(memoryTree());
      await serveProvider(memoryTree());
      console.log(socket);
      process.exit(3);`;
    const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      timeout: 60_000,
      env: { ...process.env, TMPDIR: folder },
      encoding: 'utf8',
    });
    assert.deepEqual([status, stdout.startsWith(`${folder}/`)], [3, true]);
    assert.deepEqual(readdirSync(folder), []);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
