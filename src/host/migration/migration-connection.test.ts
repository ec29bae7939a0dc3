import assert from 'node:assert/strict';
import { closeSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { acceptMigration, connectMigration } from './migration-connection.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'link-'));
after(() => rmSync(FOLDER, { recursive: true, force: true }));
const NEVER = new AbortController().signal;

async function appears(path: string): Promise<void> {
  while (!existsSync(path)) await new Promise((resolve) => setImmediate(resolve));
}

test('two ends exchange messages, then the connection is detached', async () => {
  const path = join(FOLDER, 'a, "b" é');
  const accepting = acceptMigration({ path }, NEVER);
  await appears(path);
  const [near, far] = [await connectMigration({ path }, NEVER), await accepting];
  assert.ok(!existsSync(path));
  const long = { text: 'é'.repeat(300_000) };
  near.send(long);
  assert.deepEqual(await far.receive(), long);
  // the last message is sent before the connection is detached
  const taken = await far.detach({ ready: true });
  assert.deepEqual(await near.receive(), { ready: true });
  closeSync(taken);
  await assert.rejects(near.receive(), /closed the connection/);
  near[Symbol.dispose]();
});

for (const [what, bytes, reason] of [
  ['another protocol', 'GET / HTTP/1.1\r\n\r\n', /does not use this protocol/],
  ['the beginning of a message', 'NEPHOS-1\0\0\0\x09{', /closed the connection/],
  ['too long a message', 'NEPHOS-1\xff\0\0\0', /too long/],
  ['no JSON', 'NEPHOS-1\0\0\0\x01{', /JSON/],
] as const) {
  test(`refused: ${what}`, async () => {
    const path = join(FOLDER, 'stranger');
    const server = createServer((socket) => void socket.end(Buffer.from(bytes, 'latin1')));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    using link = await connectMigration({ path }, NEVER);
    await assert.rejects(link.receive(), reason);
    server.close();
  });
}

test('a peer that sends nothing is disconnected after a deadline', async () => {
  const path = join(FOLDER, 'silent');
  const accepting = acceptMigration({ path }, NEVER);
  await appears(path);
  using _silent = await connectMigration({ path }, NEVER);
  using link = await accepting;
  await assert.rejects(link.receive(20), /sent nothing for 0\.02 s/);
});

test('a failed connection has its reason, and a wait can be cancelled', async () => {
  await assert.rejects(connectMigration({ path: join(FOLDER, 'none') }, NEVER), {
    message: 'no such file or directory',
  });
  const file = join(FOLDER, 'file');
  writeFileSync(file, '');
  await assert.rejects(connectMigration({ path: file }, NEVER), { message: 'connection refused' });
  await assert.rejects(acceptMigration({ path: file }, NEVER), /not a socket is there/);
  const wait = new AbortController();
  const path = join(FOLDER, 'wait');
  const accepting = acceptMigration({ path }, wait.signal);
  wait.abort();
  await assert.rejects(accepting, /was ended/);
  assert.ok(!existsSync(path));
});
