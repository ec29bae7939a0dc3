import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync, statSync, writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { test } from 'node:test';
import { HOLD_BYTES } from './host-console.ts';
import { openPty, type Pty } from './pty.ts';

const MIB = 2 ** 20;
const CLIENT = constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK;

interface TestPty extends Disposable {
  readonly pty: Pty;
}

async function open(): Promise<TestPty> {
  const pty = await openPty();
  return { pty, [Symbol.dispose]: pty.dispose };
}

/** Reads as a client until the PTY is silent for a while. */
async function readUntilQuiet(client: number, quietMs = 300): Promise<Buffer> {
  const parts: Buffer[] = [];
  const buffer = Buffer.alloc(65_536);
  let last = performance.now();
  while (performance.now() - last < quietMs) {
    try {
      parts.push(Buffer.from(buffer.subarray(0, readSync(client, buffer))));
      last = performance.now();
    } catch {
      await delay(1);
    }
  }
  return Buffer.concat(parts);
}

/** Bytes that identify their position. */
function numbered(length: number): Buffer {
  return Buffer.from(
    Array.from({ length: length / 8 }, (_, i) => `${String(i).padStart(7, '0')}\n`).join(''),
  );
}

test('bytes pass a PTY unchanged in both directions, also for a late reader', async () => {
  using opened = await open();
  const { pty } = opened;
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
});

test('unread output never blocks the VMM: the newest is kept', async () => {
  using opened = await open();
  const { pty } = opened;
  const all = numbered(8 * MIB);
  for (let i = 0; i < all.length; i += 4096) assert.ok(pty.write(all.subarray(i, i + 4096)));
  const client = openSync(pty.path, CLIENT);
  const seen = await readUntilQuiet(client);
  closeSync(client);
  assert.ok(seen.subarray(-65_536).equals(all.subarray(-65_536)));
  assert.ok(seen.length < 2 ** 17, `${seen.length} bytes were kept`);
});

test('a full PTY without a client takes no processor', async () => {
  using opened = await open();
  opened.pty.write(Buffer.alloc(MIB / 2, 'x'));
  const before = process.cpuUsage();
  await delay(1000);
  const { user, system } = process.cpuUsage(before);
  assert.ok(user + system < 500_000, `${user + system} us in a second`);
});

test('a client that has the PTY open and does not read for long loses nothing', async () => {
  using opened = await open();
  const { pty } = opened;
  const client = openSync(pty.path, CLIENT);
  const all = numbered(8 * MIB);
  for (let i = 0; i < all.length; i += 4096) assert.ok(pty.write(all.subarray(i, i + 4096)));
  // a reader that does not read for a while
  await delay(1000);
  const seen = await readUntilQuiet(client);
  closeSync(client);
  assert.ok(seen.equals(all), `${seen.length} of ${all.length} bytes`);
});

test('a guest is held back at 16 MiB, until the client reads or disconnects', async () => {
  using opened = await open();
  const { pty } = opened;
  for (const act of ['reads', 'goes'] as const) {
    const client = openSync(pty.path, CLIENT);
    const piece = Buffer.alloc(65_536, 'a');
    let given = piece.length;
    while (pty.write(piece)) given += piece.length;
    assert.ok(given >= HOLD_BYTES && given < HOLD_BYTES + MIB, `${given} bytes`);
    const resumed = new Promise<void>((resolve) => pty.onDrain(resolve));
    if (act === 'reads') await readUntilQuiet(client);
    closeSync(client);
    await resumed;
    assert.ok(pty.write(piece));
  }
});

test('input waits while it is not taken, and then arrives whole', async () => {
  using opened = await open();
  const { pty } = opened;
  const taken: Buffer[] = [];
  const length = (): number => taken.reduce((sum, part) => sum + part.length, 0);
  pty.onInput((bytes) => {
    taken.push(bytes);
    pty.pauseInput();
  });
  const client = openSync(pty.path, CLIENT);
  const paste = numbered(MIB);
  let given = 0;
  while (length() < paste.length) {
    try {
      given += writeSync(client, paste, given, Math.min(5000, paste.length - given));
    } catch {
      pty.resumeInput();
    }
    if (given === paste.length) pty.resumeInput();
    await delay(0);
  }
  closeSync(client);
  assert.ok(Buffer.concat(taken).equals(paste));
});

test('input of each of several clients in turn is read', async () => {
  using opened = await open();
  const { pty } = opened;
  let typed = '';
  pty.onInput((bytes) => (typed += bytes.toString()));
  for (let i = 0; i < 20; i++) {
    const client = openSync(pty.path, CLIENT);
    writeSync(client, `${i};`);
    closeSync(client);
    const end = performance.now() + 10_000;
    while (!typed.endsWith(`${i};`)) {
      assert.ok(performance.now() < end, typed);
      await delay(1);
    }
  }
});
