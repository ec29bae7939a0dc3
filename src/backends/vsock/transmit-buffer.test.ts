import assert from 'node:assert/strict';
import { test } from 'node:test';
import { array, assert as check, constantFrom, nat, oneof, property, record } from 'fast-check';
import { libc, loadLibc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';
import { checked } from '../../native/system-error.ts';
import { openSocketPair, SOCK_NONBLOCK } from '../../native/unix-socket.ts';
import { Parts } from '../vhost-user/descriptor-chain.ts';
import { TransmitBuffer } from './transmit-buffer.ts';

await loadLibc();

/** Calls `use` with both ends of a connection that never block. */
function withPair(use: (ours: number, theirs: number) => void): void {
  const [ours, theirs] = openSocketPair(SOCK_NONBLOCK);
  try {
    use(ours, theirs);
  } finally {
    libc().close(ours);
    libc().close(theirs);
  }
}

const MOST = 300_000;

/** Bytes repeat after so many: missing, doubled or misplaced parts of a stream are detected. */
const PERIOD = 65_521;

function pattern(): Block {
  const block = allocate(PERIOD + MOST);
  for (let i = 0; i < PERIOD + MOST; i++) block.view.setUint8(i, Math.imul(i % PERIOD, 2_654_435_761) >>> 24);
  return block;
}

const part = ({ view }: Block, from: number, bytes: number): Buffer =>
  Buffer.from(view.buffer, view.byteOffset + from, bytes);

const parts = new Parts();

/** Data of the guest at an address. */
function dataAt(address: number, bytes: number): Parts {
  parts.clear();
  parts.add(address, bytes);
  return parts;
}

const bytes = oneof(nat(5000), nat(MOST));
const step = record({ add: bytes, flush: constantFrom(true, true, false), take: bytes });

test('bytes are unchanged, for any split and any speed of the reader', () => {
  const [source, target, vectors] = [pattern(), allocate(MOST), allocate(32)];
  check(
    property(
      constantFrom(4096, 65_536, 100_003, MOST),
      array(step, { maxLength: 30, size: 'max' }),
      (size, steps) => {
        withPair((ours, theirs) => {
          const backlog = new TransmitBuffer(size, vectors);
          let [added, written, taken] = [0, 0, 0];
          const take = (most: number): void => {
            const got = Math.max(0, libc().read(theirs, target.address, most));
            assert.ok(
              part(target, 0, got).equals(part(source, taken % PERIOD, got)),
              `${got} bytes at ${taken}`,
            );
            taken += got;
          };
          const flush = (): void => {
            written += checked('write', backlog.writeTo(ours));
          };
          for (const { add, flush: flushes, take: most } of steps) {
            const bytes = Math.min(add, size - backlog.length);
            backlog.add(dataAt(source.address + (added % PERIOD), bytes));
            added += bytes;
            assert.equal(backlog.length, added - written);
            if (flushes) flush();
            if (most > 0) take(most);
          }
          // the reader reads all: all must arrive
          for (let turns = 0; turns < 1000; turns++) {
            flush();
            take(MOST);
            if (taken === added) break;
          }
          assert.deepEqual([written, taken, backlog.length], [added, added, 0]);
          backlog.free();
        });
      },
    ),
    { numRuns: 60 },
  );
  for (const block of [source, target, vectors]) block.free();
});

test('bytes beyond the size are refused and change nothing', () => {
  const [source, vectors] = [allocate(8192), allocate(32)];
  check(
    property(nat({ max: 4096 }), nat({ max: 5000 }), (first, more) => {
      const backlog = new TransmitBuffer(4096, vectors);
      const add = (bytes: number): void => backlog.add(dataAt(source.address, bytes));
      add(first);
      if (first + more > 4096) assert.throws(() => add(more), RangeError);
      else add(more);
      assert.equal(backlog.length, first + more > 4096 ? first : first + more);
      backlog.free();
    }),
  );
  for (const block of [source, vectors]) block.free();
});
