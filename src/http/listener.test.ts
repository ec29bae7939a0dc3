import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';

import { errorChain } from '../api/errors.ts';
import type { ListenAddress } from './listener.ts';
import { serve } from './server.ts';
import { PING, RawClient, TempDir, golden, stubEndpoints } from './test-kit.ts';

const GET_PING = 'GET /api/v1/vmm.ping HTTP/1.1\r\n\r\n';
const endpoints = stubEndpoints();

const serverModule = JSON.stringify(new URL('server.js', import.meta.url).href);

/** A program that serves the API on its file descriptor 3 until its standard input ends. */
const servingFd3 = `import { serve } from ${serverModule};
    const handle = async () => ({ pid: process.pid });
    const route = { method: 'GET', body: 'ignored', decode: (json) => json };
    const server = await serve({ listen: { fd: 3 }, endpoints: new Map([['vm.info', { route, handle }]]) });
    process.stdout.write('ready');
    process.stdin.on('end', () => server.close()).resume();`;

async function expectPing(path: string): Promise<void> {
  using client = new RawClient(path);
  await client.send(GET_PING).expect(golden(200, PING));
}

async function expectRefusal(listen: ListenAddress, reason: string | RegExp): Promise<void> {
  const where = 'path' in listen ? listen.path : `file descriptor ${listen.fd}`;
  await assert.rejects(serve({ listen, endpoints }), (error) => {
    const [message, cause, ...more] = errorChain(error);
    assert.deepEqual([message, more], [`Cannot listen on the API socket ${where}`, []]);
    if (typeof reason === 'string') assert.equal(cause, reason);
    else assert.match(String(cause), reason);
    return true;
  });
}

for (const [what, name] of [
  ['ASCII', (bytes: number) => 'a'.repeat(bytes)],
  ['two-byte', (bytes: number) => 'é'.repeat(Math.floor(bytes / 2)) + 'a'.repeat(bytes % 2)],
] as const) {
  test(`a path of 107 bytes of ${what} characters works, one of 108 is refused`, async () => {
    using dir = new TempDir();
    const path = join(dir.path, name(107 - dir.path.length - 1));
    assert.equal(Buffer.byteLength(path), 107);
    {
      await using _ = await serve({ listen: { path }, endpoints });
      assert.ok(statSync(path).isSocket());
      await expectPing(path);
    }
    assert.equal(existsSync(path), false);
    await expectRefusal({ path: `${path}a` }, "The path has 108 bytes, a socket's can have 107 at most");
  });
}

test('the socket file has the mode that the umask leaves', async () => {
  using dir = new TempDir();
  const path = join(dir.path, 's');
  const before = process.umask(0o077);
  try {
    await using _ = await serve({ listen: { path }, endpoints });
    assert.equal(statSync(path).mode & 0o777, 0o700);
  } finally {
    process.umask(before);
  }
});

test('a socket left behind is replaced, one that is still served is not, and is named', async () => {
  using dir = new TempDir();
  const path = join(dir.path, 's');
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 9))`;
  await once(spawn(process.execPath, ['-e', script]), 'exit');
  assert.ok(statSync(path).isSocket());
  await using _ = await serve({ listen: { path }, endpoints });
  await expectRefusal({ path }, new RegExp(`^Is in use: process ${process.pid} \\(`));
  await expectPing(path);
});

test('a file that is not a socket is left alone', async () => {
  using dir = new TempDir();
  const file = join(dir.path, 'file');
  writeFileSync(file, 'precious');
  const folder = join(dir.path, 'folder');
  mkdirSync(folder);
  const link = join(dir.path, 'link');
  symlinkSync('nowhere', link);
  for (const path of [file, folder, link]) {
    await expectRefusal({ path }, 'Something that is not a socket is there; it was left untouched');
  }
  assert.equal(readFileSync(file, 'utf8'), 'precious');
});

test('an invalid path is refused with the reason', async () => {
  using dir = new TempDir();
  const path = join(dir.path, 'none', 's');
  await expectRefusal({ path }, `There is no directory ${join(dir.path, 'none')}`);
  await expectRefusal({ path: '' }, 'It is not a path');
  await expectRefusal({ path: '\0a' }, 'It is not a path');
});

test('a listening socket that was inherited is served, and not unlinked', async () => {
  using dir = new TempDir();
  const path = join(dir.path, 's');
  const parent = await listening({ path });
  const child = spawn(process.execPath, ['--input-type=module', '-e', servingFd3], {
    stdio: ['pipe', 'pipe', 'inherit', fdOf(parent)],
  });
  const exited = once(child, 'exit');
  const [stdin, stdout] = [child.stdin, child.stdout];
  assert.ok(stdin !== null && stdout !== null);
  await once(stdout, 'data');
  // Without this the parent would take the connections as well; the file goes with its handle, the listening does not.
  const parentClosed = once(parent, 'close');
  const relinked = join(dir.path, 'kept');
  linkSync(path, relinked);
  parent.close();
  await parentClosed;
  using client = new RawClient(relinked);
  await client.send('GET /api/v1/vm.info HTTP/1.1\r\n\r\n').expect(golden(200, `{"pid":${child.pid}}`));
  stdin.end();
  assert.deepEqual(await exited, [0, null]);
  assert.ok(statSync(relinked).isSocket());
});

test('a file descriptor that is no listening UNIX socket is refused', async () => {
  using dir = new TempDir();
  const fd = openSync(join(dir.path, 'file'), 'w');
  await expectRefusal({ fd }, /^listen E/);
  closeSync(fd);
  await expectRefusal({ fd }, /EBADF|EINVAL/);
  const tcp = await listening({ port: 0, host: '127.0.0.1' });
  const child = spawn(process.execPath, ['--input-type=module', '-e', servingFd3], {
    stdio: ['ignore', 'pipe', 'pipe', fdOf(tcp)],
  });
  const exited = once(child, 'exit');
  tcp.close();
  const { stderr } = child;
  assert.ok(stderr !== null);
  const report = await text(stderr);
  assert.match(report, /: Cannot listen on the API socket file descriptor 3\n/);
  assert.match(report, /cause.*: It is not a UNIX socket\n/);
  assert.deepEqual(await exited, [1, null]);
});

async function listening(options: { path: string } | { port: number; host: string }): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  server.listen(options);
  await once(server, 'listening');
  return server;
}

function fdOf(server: Server): number {
  const { _handle } = server as Server & { _handle: { fd: number } };
  return _handle.fd;
}
