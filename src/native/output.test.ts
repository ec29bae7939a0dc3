import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openPty } from '../host/console/pty.ts';
import { createLineOutput } from './line-output.ts';
import { loadLibc } from './libc.ts';
import { openSocketPair as openPair } from './unix-socket.ts';
import { createOutput, flushOutputs } from './output.ts';

const MIB = 2 ** 20;
const BYTES = Buffer.from(Array.from({ length: MIB }, (_, i) => (i * 31) % 251));

/** Both ends of a pipe, socket or terminal in blocking mode, as a parent process makes it. */
interface Ends extends Disposable {
  readonly written: number;
  readonly read: number;
}

function openPipe(): Ends {
  const folder = mkdtempSync(join(tmpdir(), 'output-'));
  const path = join(folder, 'pipe');
  execFileSync('mkfifo', [path]);
  const read = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return endsOf(openSync(path, 'w'), read, () => rmSync(folder, { recursive: true }));
}

async function openSocketPair(): Promise<Ends> {
  const { fcntl } = await loadLibc();
  const [written, read] = openPair();
  const [F_SETFL, O_RDWR] = [4, 2];
  fcntl(read, F_SETFL, 'int', O_RDWR | constants.O_NONBLOCK);
  return endsOf(written, read);
}

function endsOf(written: number, read: number, remove?: () => void): Ends {
  return {
    written,
    read,
    [Symbol.dispose]: () => {
      closeSync(written);
      closeSync(read);
      remove?.();
    },
  };
}

/** Reads exactly so many bytes, while the output continues to write. */
async function readAll(fd: number, length: number): Promise<Buffer> {
  const all = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    try {
      done += readSync(fd, all, done, Math.min(4096, length - done), null);
    } catch {
      // no bytes are available now
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  return all;
}

function isNonBlocking(fd: number): boolean {
  const [, flags = ''] = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1')) ?? [];
  return (Number.parseInt(flags, 8) & constants.O_NONBLOCK) !== 0;
}

for (const [kind, open] of [
  ['pipe', async () => openPipe()],
  ['socket', openSocketPair],
] as const) {
  test(`a ${kind} without a reader does not block, and has all bytes once it is read`, async () => {
    using ends = await open();
    const output = createOutput(ends.written);
    const before = performance.now();
    output.write(BYTES);
    await flushOutputs(50);
    assert.ok(performance.now() - before < 1000);
    assert.ok(output.queued() > 0);
    assert.ok(!isNonBlocking(ends.written));
    output.close();
    assert.ok((await readAll(ends.read, MIB)).equals(BYTES));
    await flushOutputs(1000);
    assert.equal(output.queued(), 0);
  });
}

test('an unread terminal blocks nothing, and gets all bytes once it is read', async () => {
  const pty = await openPty();
  const terminal = openSync(pty.path, constants.O_RDWR | constants.O_NOCTTY);
  try {
    const output = createOutput(terminal);
    output.write(BYTES);
    await flushOutputs(50);
    assert.ok(output.queued() > 0);
    assert.ok(!isNonBlocking(terminal));
    const shown: Buffer[] = [];
    pty.onInput((bytes) => shown.push(bytes));
    await flushOutputs(10_000);
    output.close();
    await until(() => shown.reduce((sum, { length }) => sum + length, 0) >= MIB);
    assert.ok(Buffer.concat(shown).equals(BYTES));
  } finally {
    closeSync(terminal);
    pty.dispose();
  }
});

async function until(holds: () => boolean): Promise<void> {
  const end = performance.now() + 30_000;
  while (!holds()) {
    assert.ok(performance.now() < end);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test('unread lines are bounded; the number of dropped ones is in their place', async () => {
  using ends = openPipe();
  const lines = createLineOutput(ends.written, (dropped) => `dropped ${dropped}\n`);
  const line = `${'x'.repeat(99)}\n`;
  for (let i = 0; i < 20_000; i++) lines.write(line);
  // some of it is read, so that there is space again
  const early = await readAll(ends.read, 10_000 * line.length);
  lines.write('end\n');
  lines.close();
  const [tail, kept] = await readToEnd(ends.read);
  const dropped = Number(/dropped (\d+)\nend\n$/.exec(tail)?.[1]);
  assert.equal(early.length / line.length + kept + dropped, 20_000);
  assert.ok(dropped > 0 && 20_000 - dropped < 12_000, `${dropped} were dropped`);
});

/** Reads on until the line `end`. @returns the last characters, and the number of the lines of x */
async function readToEnd(fd: number): Promise<[string, number]> {
  const buffer = Buffer.alloc(65_536);
  let text = '';
  await until(() => {
    try {
      text += buffer.toString('latin1', 0, readSync(fd, buffer));
    } catch {
      // no bytes are available now
    }
    return text.endsWith('end\n');
  });
  return [text.slice(-100), text.split('\n').filter((line) => line.startsWith('x')).length];
}

test('a reader that closes is no failure', async () => {
  const ends = openPipe();
  closeSync(ends.read);
  const output = createOutput(ends.written);
  output.write(BYTES);
  await flushOutputs(1000);
  assert.equal(output.queued(), 0);
  output.close();
  closeSync(ends.written);
});

test('a descriptor that is not open is refused', () => {
  assert.throws(() => createOutput(9999), { code: 'EBADF' });
});
