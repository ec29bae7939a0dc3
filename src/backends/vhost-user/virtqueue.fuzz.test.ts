// Hostile rings: any content that a guest writes causes at worst a QueueError of its ring; no memory outside of the guest's
// is accessed. Real memory, shared through a file as QEMU's is, with a guard region on each side.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Chain } from './descriptor-chain.ts';
import { QueueError } from './queue-error.ts';
import type { GuestMemory } from './guest-memory.ts';
import { Virtqueue, type RingRules } from './virtqueue.ts';
import { loadLibc } from '../../native/libc.ts';
import { ACCESSES, makeMemory, type MemoryAccess } from './test-memory.ts';

await loadLibc();

const SIZE = 16;
const RAM = 64 * 1024;
/** Guest address of the memory. */
const GUEST = 0x10_0000;
const TABLE = 0x100;
const AVAILABLE = 0x400;
const USED = 0x600;
const BUFFERS = 0x1000;

interface Bench {
  /** address of the guest's first byte for the front-end */
  readonly user: number;
  readonly memory: GuestMemory;
  readonly ram: DataView;
  /** address of the guest's first byte for the back-end */
  readonly base: number;
  readonly ring: (rules: RingRules, base?: number) => Virtqueue;
  readonly [Symbol.dispose]: () => void;
}

function bench(access: MemoryAccess): Bench {
  const {
    memory,
    ram,
    user,
    base,
    [Symbol.dispose]: dispose,
  } = makeMemory(RAM, { access, guestAddress: GUEST });
  return {
    ...{ memory, base, ram, user },
    ring: (rules, next = 0) =>
      new Virtqueue({
        memory,
        addresses: { descriptors: user + TABLE, available: user + AVAILABLE, used: user + USED },
        size: SIZE,
        base: next,
        rules,
      }),
    [Symbol.dispose]: dispose,
  };
}

/** Declares a test for each way to the guest's memory. */
function eachAccess(title: string, run: (access: MemoryAccess) => void): void {
  for (const access of ACCESSES) test(`${access}: ${title}`, () => run(access));
}

interface Descriptor {
  readonly address: number;
  readonly length: number;
  readonly flags: number;
  readonly next: number;
}

function put(ram: DataView, at: number, { address, length, flags, next }: Descriptor): void {
  ram.setBigUint64(at, BigInt(address), true);
  ram.setUint32(at + 8, length, true);
  ram.setUint16(at + 12, flags, true);
  ram.setUint16(at + 14, next, true);
}

function offer(ram: DataView, index: number, head: number): void {
  ram.setUint16(AVAILABLE + 4 + (index % SIZE) * 2, head, true);
  ram.setUint16(AVAILABLE + 2, index + 1, true);
}

const PLAIN: RingRules = { eventIndex: true, indirect: true };

eachAccess('a chain of buffers to read and to write, directly and by a table', (access) => {
  using guest = bench(access);
  const ring = guest.ring(PLAIN);
  const chain = new Chain();
  put(guest.ram, TABLE, { address: GUEST + BUFFERS, length: 44, flags: 1, next: 3 });
  put(guest.ram, TABLE + 48, { address: GUEST + BUFFERS + 100, length: 9, flags: 2, next: 0 });
  offer(guest.ram, 0, 0);
  assert.equal(ring.pop(chain), true);
  assert.deepEqual([chain.head, chain.readable.bytes, chain.writable.bytes], [0, 44, 9]);
  assert.equal(ring.pop(chain), false);

  put(guest.ram, BUFFERS + 512, { address: GUEST + BUFFERS, length: 7, flags: 1, next: 1 });
  put(guest.ram, BUFFERS + 528, { address: GUEST + BUFFERS + 7, length: 5, flags: 0, next: 0 });
  put(guest.ram, TABLE + 80, { address: GUEST + BUFFERS + 512, length: 32, flags: 4, next: 0 });
  offer(guest.ram, 1, 5);
  assert.equal(ring.pop(chain), true);
  assert.deepEqual([chain.head, chain.readable.bytes, chain.writable.bytes], [5, 12, 0]);
  ring.unpop();
  assert.equal(ring.pop(chain), true, 'the chain is available again');
});

eachAccess('interrupts and kicks occur at the requested indices', (access) => {
  using guest = bench(access);
  const ring = guest.ring(PLAIN);
  const event = (index: number): void => guest.ram.setUint16(AVAILABLE + 4 + SIZE * 2, index, true);
  const chain = new Chain();
  const use = (head: number, written: number): void => {
    chain.reset(head);
    ring.addUsed(chain, written);
  };
  event(0);
  use(3, 10);
  assert.equal(ring.publish(), true);
  assert.equal(guest.ram.getUint16(USED + 2, true), 1);
  assert.deepEqual([guest.ram.getUint32(USED + 4, true), guest.ram.getUint32(USED + 8, true)], [3, 10]);
  use(4, 0);
  assert.equal(ring.publish(), false, 'the guest has not asked again');
  event(3);
  use(5, 0);
  use(6, 0);
  assert.equal(ring.publish(), true, 'the index was passed');
  assert.equal(ring.enableNotifications(), false);
  assert.equal(guest.ram.getUint16(USED + 4 + SIZE * 8, true), 0);
  put(guest.ram, TABLE, { address: GUEST, length: 1, flags: 0, next: 0 });
  offer(guest.ram, 0, 0);
  assert.equal(ring.enableNotifications(), true, 'something came in between');
});

const BROKEN: readonly (readonly [string, readonly Descriptor[]])[] = [
  ['a loop', [{ address: GUEST, length: 1, flags: 1, next: 0 }]],
  ['a next entry that is not there', [{ address: GUEST, length: 1, flags: 1, next: SIZE }]],
  ['no memory', [{ address: GUEST + RAM, length: 1, flags: 0, next: 0 }]],
  ['the end outside of memory', [{ address: GUEST + RAM - 1, length: 2, flags: 0, next: 0 }]],
  ['below memory', [{ address: GUEST - 1, length: 2, flags: 0, next: 0 }]],
  ['an address near the end of all', [{ address: 2 ** 53 - 1, length: 2, flags: 2, next: 0 }]],
  ['4 GiB', [{ address: GUEST, length: 0xffff_ffff, flags: 0, next: 0 }]],
  ['a table of no entries', [{ address: GUEST, length: 0, flags: 4, next: 0 }]],
  ['a table of half an entry', [{ address: GUEST, length: 24, flags: 4, next: 0 }]],
  ['a table and a next entry', [{ address: GUEST, length: 16, flags: 5, next: 1 }]],
  ['a table that is too large', [{ address: GUEST, length: 16 * 2048, flags: 4, next: 0 }]],
  ['a table in a table', [{ address: GUEST + TABLE, length: 16, flags: 4, next: 0 }]],
  [
    'a buffer to read after one to write',
    [
      { address: GUEST, length: 1, flags: 3, next: 1 },
      { address: GUEST, length: 1, flags: 0, next: 0 },
    ],
  ],
];

for (const [what, descriptors] of BROKEN) {
  eachAccess(`refused: ${what}`, (access) => {
    using guest = bench(access);
    for (const [i, one] of descriptors.entries()) put(guest.ram, TABLE + i * 16, one);
    offer(guest.ram, 0, 0);
    assert.throws(() => guest.ring(PLAIN).pop(new Chain()), QueueError);
  });
}

eachAccess('invalid heads and counts, unnegotiated tables and rings outside memory are refused', (access) => {
  using guest = bench(access);
  offer(guest.ram, 0, SIZE);
  assert.throws(() => guest.ring(PLAIN).pop(new Chain()), QueueError);
  guest.ram.setUint16(AVAILABLE + 2, SIZE + 1, true);
  assert.throws(() => guest.ring(PLAIN).pop(new Chain()), QueueError);
  put(guest.ram, TABLE, { address: GUEST, length: 16, flags: 4, next: 0 });
  offer(guest.ram, 0, 0);
  assert.throws(() => guest.ring({ eventIndex: true, indirect: false }).pop(new Chain()), QueueError);
  const at = (used: number, size: number): Virtqueue =>
    new Virtqueue({
      memory: guest.memory,
      addresses: { descriptors: guest.user, available: guest.user, used },
      size,
      base: 0,
      rules: PLAIN,
    });
  for (const [used, size] of [
    [guest.user + RAM - 8, 16],
    [guest.user - 4, 16],
    [guest.user + 2, 16],
    [0, 16],
    [guest.user, 15],
    [guest.user, 0],
    [guest.user, 65_536],
  ] as const) {
    assert.throws(() => at(used, size), QueueError, `${used} ${size}`);
  }
});

/** xorshift: the same rings for the same seed, which the message of a failure names. */
function random(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Mostly values at the limits of validity: plain noise is refused at once. */
function hostile(ram: DataView, next: (below: number) => number): void {
  const addresses = [GUEST, GUEST + TABLE, GUEST + BUFFERS, GUEST + RAM - 16, GUEST + RAM, 0, 2 ** 48];
  const lengths = [0, 1, 16, 32, 44, 4096, RAM, 0xffff_ffff];
  const pick = (list: readonly number[]): number => list[next(list.length)] ?? 0;
  const one = (): Descriptor => ({
    address: next(3) > 0 ? GUEST + BUFFERS + next(1024) : pick(addresses),
    length: next(3) > 0 ? next(2048) : pick(lengths),
    flags: next(3) > 0 ? next(2) * 2 : next(8),
    next: next(20) === 0 ? next(65_536) : next(SIZE),
  });
  for (let i = 0; i < SIZE; i++) put(ram, TABLE + i * 16, one());
  for (let i = 0; i < 32; i++) put(ram, BUFFERS + i * 16, one());
  for (let i = 0; i < SIZE + 1; i++)
    ram.setUint16(AVAILABLE + 4 + i * 2, next(8) === 0 ? next(65_536) : next(SIZE), true);
  ram.setUint16(AVAILABLE, next(4), true);
  ram.setUint16(AVAILABLE + 2, next(6) === 0 ? next(65_536) : next(SIZE + 1), true);
}

eachAccess('5000 hostile rings: every part of a popped chain is in the guest’s memory', (access) => {
  using guest = bench(access);
  const chain = new Chain();
  let taken = 0;
  for (let seed = 1; seed <= 5_000; seed++) {
    const next = random(seed * 2_654_435_761);
    hostile(guest.ram, next);
    const ring = guest.ring({ eventIndex: next(2) === 0, indirect: next(4) > 0 });
    try {
      for (let i = 0; i <= SIZE && ring.pop(chain); i++) {
        taken++;
        for (const parts of [chain.readable, chain.writable]) {
          parts.each(0, parts.bytes, (address, length) => {
            const inside = address >= guest.base && address + length <= guest.base + RAM;
            assert.ok(inside, `seed ${seed}: ${address}+${length} is outside`);
          });
        }
        ring.addUsed(chain, next(100));
        ring.publish();
        ring.enableNotifications();
      }
    } catch (error) {
      if (!(error instanceof QueueError)) throw new Error(`seed ${seed}`, { cause: error });
    }
    ring.free();
  }
  chain.free();
  assert.ok(taken > 2_500, `only ${taken} chains got through: the rings are too hostile to test anything`);
});
