import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { HostConsole } from './host-console.ts';
import { openConsoleSocket } from './console-socket.ts';

async function withSocket(use: (end: HostConsole, path: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'console-'));
  const path = join(folder, 's');
  const end = await openConsoleSocket(path);
  try {
    await use(end, path);
  } finally {
    end.dispose();
    rmSync(folder, { recursive: true });
  }
}

async function connectTo(path: string): Promise<Socket> {
  const client = connect(path);
  client.on('error', () => undefined);
  await once(client, 'connect');
  return client;
}

/** Reads until a text has arrived. */
async function readUntil(client: Socket, text: string): Promise<string> {
  let seen = '';
  for await (const part of client) {
    seen += String(part);
    if (seen.includes(text)) return seen;
  }
  return seen;
}

test('output between two clients is kept for the next one', () =>
  withSocket(async (end, path) => {
    const first = await connectTo(path);
    end.write(Buffer.from('one\n'));
    assert.equal(await readUntil(first, 'one\n'), 'one\n');
    first.destroy();
    // the server sees the end of the connection in a later iteration of the event loop
    await delay(50);
    end.write(Buffer.from('two\n'));
    assert.equal(await readUntil(await connectTo(path), 'two\n'), 'two\n');
  }));

test('a client that does not read for long loses nothing', () =>
  withSocket(async (end, path) => {
    const client = await connectTo(path);
    await delay(50);
    const piece = Buffer.alloc(65_536, 'x');
    for (let i = 0; i < 128; i++) assert.ok(end.write(piece));
    end.write(Buffer.from('end\n'));
    assert.equal((await readUntil(client, 'end\n')).length, 128 * piece.length + 4);
  }));

test('input waits while it is not taken, and then arrives whole', () =>
  withSocket(async (end, path) => {
    const paste = Buffer.from(Array.from({ length: 2 ** 20 }, (_, i) => (i * 31) % 251));
    const taken: Buffer[] = [];
    const whole = new Promise<void>((resolve) => {
      end.onInput((bytes) => {
        taken.push(bytes);
        end.pauseInput();
        setTimeout(end.resumeInput, 1);
        if (taken.reduce((sum, { length }) => sum + length, 0) === paste.length) resolve();
      });
    });
    const client = await connectTo(path);
    client.write(paste);
    await whole;
    assert.ok(Buffer.concat(taken).equals(paste));
    client.destroy();
  }));
