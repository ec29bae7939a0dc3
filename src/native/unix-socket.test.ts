import assert from 'node:assert/strict';
import { closeSync, mkdirSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadLibc } from './libc.ts';
import { listenAtPath } from './listening-socket.ts';
import { EAGAIN, ENOENT } from './system-error.ts';
import {
  acceptFrom,
  connectSocket,
  connectTo,
  enlargeSendBuffer,
  openSocketPair,
  SOCK_NONBLOCK,
  SOCKET_PATH_MAX,
} from './unix-socket.ts';

await loadLibc();

function withFolder(act: (folder: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const folder = mkdtempSync(join(tmpdir(), 'unix "é" '));
    try {
      await act(folder);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };
}

test('bytes that are written to one end of a pair arrive at the other', () => {
  const [own, other] = openSocketPair();
  try {
    writeSync(own, 'text');
    const received = Buffer.alloc(16);
    assert.equal(received.toString('latin1', 0, readSync(other, received)), 'text');
  } finally {
    closeSync(own);
    closeSync(other);
  }
});

test(
  'a connection is made and accepted without waiting',
  withFolder(async (folder) => {
    const { fd, removeFile } = await listenAtPath(join(folder, 'socket'));
    assert.equal(acceptFrom(fd), -EAGAIN);
    const client = connectTo(join(folder, 'socket'));
    const accepted = acceptFrom(fd);
    assert.ok(client >= 0 && accepted >= 0);
    removeFile();
    for (const one of [client, accepted, fd]) closeSync(one);
  }),
);

test(
  'a socket with a path longer than an address is reached by way of its folder',
  withFolder(async (folder) => {
    const deep = join(folder, 'd'.repeat(SOCKET_PATH_MAX));
    mkdirSync(deep);
    const deepFd = openSync(deep, 'r');
    const { fd, removeFile } = await listenAtPath(`/proc/self/fd/${deepFd}/socket`);
    const client = connectTo(join(deep, 'socket'));
    assert.ok(client >= 0);
    assert.equal(connectTo(join(deep, 'other')), -ENOENT);
    removeFile();
    for (const one of [client, fd, deepFd]) closeSync(one);
  }),
);

test(
  'a failed connection names the path and the reason',
  withFolder(async (folder) => {
    const path = join(folder, 'socket');
    await assert.rejects(connectSocket(path), { message: `${path}: No such file or directory` });
    await assert.rejects(connectSocket('x'.repeat(SOCKET_PATH_MAX + 1)), /longer than 107 bytes/);
  }),
);

test('an enlarged socket takes the lines of a firmware, which writes each character by itself', () => {
  const [own, other] = openSocketPair(SOCK_NONBLOCK);
  try {
    enlargeSendBuffer(own);
    for (let i = 0; i < 500; i++) assert.equal(writeSync(own, 'x'), 1);
  } finally {
    closeSync(own);
    closeSync(other);
  }
});
