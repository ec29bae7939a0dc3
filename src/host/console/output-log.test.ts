import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOutputLog, LAG_BYTES, REPLAY_BYTES, type OutputLog } from './output-log.ts';

const MIB = 2 ** 20;
const BLOCK = 65_536;

/** Returns bytes that identify their position. */
function bytesAt(position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = ((position + i) * 31 + ((position + i) >> 8)) % 251;
  return bytes;
}

/** Reads all bytes from a position on. */
function readAll(log: OutputLog, from: number): Buffer {
  const parts: Buffer[] = [];
  for (let at = from; at < log.end(); at += parts.at(-1)?.length ?? 0) parts.push(log.read(at, 10_000));
  return Buffer.concat(parts);
}

/** Returns a log with `length` bytes, appended in odd pieces. */
function filled(length: number): OutputLog {
  const log = createOutputLog();
  for (let at = 0; at < length; at += 7919) log.append(bytesAt(at, Math.min(7919, length - at)));
  return log;
}

test('bytes are read by their position', () => {
  const log = filled(300_000);
  assert.equal(log.start(), 0);
  assert.equal(log.end(), 300_000);
  for (const from of [0, 1, BLOCK - 1, BLOCK, 123_456, 299_999]) {
    assert.ok(readAll(log, from).equals(bytesAt(from, 300_000 - from)), String(from));
  }
  assert.equal(log.read(300_000, 1).length, 0);
});

test('the newest 1 MiB is kept, also without a viewer', () => {
  const log = filled(5 * MIB);
  log.trim(Infinity);
  assert.ok(log.start() <= 4 * MIB && log.start() > 4 * MIB - 2 * BLOCK, String(log.start()));
  const from = 5 * MIB - REPLAY_BYTES;
  assert.ok(readAll(log, from).equals(bytesAt(from, REPLAY_BYTES)));
});

test('up to 16 MiB are kept for a slow viewer', () => {
  const log = filled(10 * MIB);
  log.trim(100_000);
  assert.equal(log.start(), BLOCK);
  log.append(Buffer.alloc(20 * MIB));
  log.trim(100_000);
  assert.ok(log.end() - log.start() <= LAG_BYTES + BLOCK, String(log.end() - log.start()));
  assert.ok(log.end() - log.start() >= LAG_BYTES - BLOCK);
});

test('skipped output counts, and no earlier output is kept', () => {
  const log = filled(100_000);
  log.skip(50);
  assert.deepEqual([log.start(), log.end()], [100_050, 100_050]);
  log.append(bytesAt(100_050, 1000));
  assert.ok(readAll(log, 100_050).equals(bytesAt(100_050, 1000)));
});
