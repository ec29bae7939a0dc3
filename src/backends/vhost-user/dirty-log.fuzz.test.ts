// The dirty log: marked are exactly the pages of the ranges; with hostile rings, each page that a device changes.
import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { test } from 'node:test';
import { array, assert as check, constantFrom, integer, nat, property, record, tuple } from 'fast-check';
import { allocate } from '../../native/memory.ts';
import { Chain } from './descriptor-chain.ts';
import { QueueError } from './queue-error.ts';
import { DirtyLog } from './dirty-log.ts';
import { mapped, memoryFile, RAM } from './test-front-end.ts';
import { makeMemory } from './test-memory.ts';
import { Virtqueue } from './virtqueue.ts';

const PAGE = 4096;

/** Pages that the log of `LOG_BYTES` has bits for. */
const LOG_BYTES = 64;
const PAGES = LOG_BYTES * 8;

/** A log at an offset of its file, and the numbers of the marked pages. */
function openLog(offset: number): { log: DirtyLog; marked: () => number[]; clear: () => void } {
  const file = memoryFile();
  const bits = mapped(file);
  const log = new DirtyLog();
  log.map(file, { size: LOG_BYTES, offset });
  closeSync(file);
  log.isOn = true;
  const isMarked = (page: number): boolean => ((bits.getUint8(page >> 3) >> (page & 7)) & 1) !== 0;
  return {
    log,
    // of the whole file: nothing outside of the log may be marked
    marked: () =>
      Array.from({ length: 8 * PAGE }, (_, page) => page)
        .filter(isMarked)
        .map((page) => page - offset * 8),
    clear: () => {
      for (let i = 0; i < PAGE; i++) bits.setUint8(i, 0);
    },
  };
}

test('exactly the pages of the marked ranges are marked, none beyond the log', () => {
  const { log, marked, clear } = openLog(100);
  const near = tuple(nat(PAGES + 8), constantFrom(0, 1, PAGE - 1)).map(([page, into]) => page * PAGE + into);
  const range = tuple(near, constantFrom(0, 1, 2, PAGE, PAGE + 1, 9 * PAGE, 40 * PAGE, 2 ** 40));
  check(
    property(array(range, { maxLength: 4 }), (ranges) => {
      clear();
      for (const [address, length] of ranges) log.mark(address, length);
      const pages = Array.from({ length: PAGES }, (_, page) => page).filter((page) =>
        ranges.some(
          ([address, length]) => address < (page + 1) * PAGE && address + length > page * PAGE && length > 0,
        ),
      );
      assert.deepEqual(marked(), pages);
    }),
    { numRuns: 300 },
  );
  log[Symbol.dispose]();
  log.mark(0, 1);
  assert.equal(log.isActive, false);
});

const SIZE = 16;
const [TABLE, AVAILABLE, USED, INDIRECT] = [0x100, 0x400, 0x600, 0x1000];

/** A descriptor, mostly a valid one to write. */
const descriptor = record({
  address: constantFrom(0x2000, 0x2ff8, 0x3abc, 0x5000, INDIRECT, RAM - 16, RAM),
  length: constantFrom(0, 1, 16, 64, 5000, 0x4000),
  flags: constantFrom(2, 2, 2, 3, 3, 0, 1, 4),
  next: integer({ min: 0, max: SIZE }),
});

test('each page that a device changes by hostile rings is marked', () => {
  using made = makeMemory(RAM);
  const { memory, ram, user } = made;
  const written = allocate(2 ** 20);
  new Uint8Array(written.view.buffer).fill(0xa5);
  const { log, marked, clear } = openLog(0);
  const chain = new Chain();
  let changes = 0;
  check(
    property(array(descriptor, { minLength: SIZE * 2, maxLength: SIZE * 2 }), nat(4), (table, unmarked) => {
      clear();
      for (let i = 0; i < RAM; i += 8) ram.setBigUint64(i, 0n);
      for (const [i, { address, length, flags, next }] of table.entries()) {
        const at = i < SIZE ? TABLE + i * 16 : INDIRECT + (i - SIZE) * 16;
        ram.setBigUint64(at, BigInt(address), true);
        ram.setUint32(at + 8, length, true);
        ram.setUint16(at + 12, flags, true);
        ram.setUint16(at + 14, next, true);
      }
      for (let i = 0; i < SIZE; i++) ram.setUint16(AVAILABLE + 4 + i * 2, i, true);
      ram.setUint16(AVAILABLE + 2, SIZE, true);
      const before = new Uint8Array(new Uint8Array(ram.buffer, ram.byteOffset, RAM));
      const addresses = {
        descriptors: user + TABLE,
        available: user + AVAILABLE,
        used: user + USED,
        loggedUsed: USED,
      };
      const ring = new Virtqueue({
        memory,
        addresses,
        size: SIZE,
        base: 0,
        rules: { eventIndex: unmarked % 2 === 0, indirect: true },
        log,
      });
      try {
        while (ring.pop(chain)) {
          chain.writable.skip(unmarked);
          chain.writable.copyIn(written.address, chain.writable.bytes);
          ring.addUsed(chain, 0);
          ring.publish();
          ring.enableNotifications();
        }
      } catch (error) {
        if (!(error instanceof QueueError)) throw error;
      }
      ring.free();
      const after = new Uint8Array(ram.buffer, ram.byteOffset, RAM);
      const pages = new Set(marked());
      for (const [i, byte] of after.entries()) {
        if (byte === before[i]) continue;
        changes++;
        assert.ok(pages.has(Math.floor(i / PAGE)), `byte ${i} has changed and is not marked`);
      }
    }),
    { numRuns: 200 },
  );
  assert.ok(changes > 10_000, `only ${changes} bytes were changed`);
  chain.free();
  written.free();
  log[Symbol.dispose]();
});
