import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { VmEnd } from '../vm-end.ts';
import { listenForNotify, NOTIFY_PORT, type NotifyListener } from './listener.ts';
import type { NotifyMessage } from './message.ts';
import { ReadyError, waitForReady } from './ready.ts';

/** A VM that does not end. */
const RUNNING = new Promise<VmEnd>(() => undefined);

async function withListener(
  use: (listener: NotifyListener, messages: NotifyMessage[], path: string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-notify-'));
  try {
    const messages: NotifyMessage[] = [];
    const socket = join(folder, 'v');
    {
      await using listener = await listenForNotify(socket, (message) => messages.push(message));
      await use(listener, messages, `${socket}_${NOTIFY_PORT}`);
    }
    assert.equal(existsSync(`${socket}_${NOTIFY_PORT}`), false);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Sends the bytes of a message, and its end. */
async function send(path: string, bytes: string | Buffer): Promise<void> {
  const socket = connect({ path, allowHalfOpen: true });
  socket.on('error', () => undefined).resume();
  socket.end(bytes);
  // `once` would reject where the listener closes first
  await new Promise((resolve) => socket.once('close', resolve));
}

test('each connection is one message; READY=1 settles the wait', async () => {
  await withListener(async (listener, messages, path) => {
    await send(path, 'X_SYSTEMD_HOSTNAME=a');
    await send(path, 'STATUS=half');
    assert.equal(listener.status(), 'half');
    const wait = waitForReady(listener, RUNNING);
    await send(path, 'READY=1\nSTATUS=Ready.');
    await wait;
    assert.deepEqual(messages, [{ hostname: 'a' }, { status: 'half' }, { isReady: true, status: 'Ready.' }]);
  });
});

test('a message that is too long is dropped, and the next one is received', async () => {
  await withListener(async (_listener, messages, path) => {
    await send(path, Buffer.alloc(100_000, 'x'));
    await send(path, `READY=1\n${'x'.repeat(5000)}`);
    await send(path, 'STATUS=next');
    assert.deepEqual(messages, [{ status: 'next' }]);
  });
});

test('connections above the limit are closed', async () => {
  await withListener(async (_listener, messages, path) => {
    const idle: Socket[] = [];
    for (let i = 0; i < 32; i++) {
      const socket = connect(path);
      await once(socket, 'connect');
      idle.push(socket);
    }
    await send(path, 'STATUS=one more');
    for (const socket of idle) socket.destroy();
    await Promise.all(idle.map((socket) => once(socket, 'close')));
    while (messages.length === 0) await send(path, 'STATUS=later');
    assert.deepEqual(messages[0], { status: 'later' });
  });
});

test('a wait ends by its time limit, its signal, or the VM, with the last report', async () => {
  await withListener(async (listener, _messages, path) => {
    await send(path, 'STATUS=job 1 is running');
    const end = Promise.resolve<VmEnd>({ reason: 'exit', code: 0, signal: null });
    for (const [fault, ended, options] of [
      ['timeout', RUNNING, { timeoutMs: 1 }],
      ['aborted', RUNNING, { signal: AbortSignal.abort() }],
      ['ended', end, {}],
    ] as const) {
      await assert.rejects(waitForReady(listener, ended, options), (error) => {
        assert.ok(error instanceof ReadyError);
        assert.equal(error.fault, fault);
        assert.match(error.message, /its last report is "job 1 is running"$/);
        return true;
      });
    }
  });
});
