// A guest for tests of file systems: the driver's side of the rings in shared memory, which sends requests of FUSE to a real device.
//
//   using driver = startDriver({ files });
//   driver.init();
//   const { error, payload } = driver.call({ opcode: Opcode.Lookup, body: [nameBytes('a')] });
import { loadLibc } from '../../native/libc.ts';
import { makeMemory, type TestMemory } from '../vhost-user/test-memory.ts';
import { Virtqueue } from '../vhost-user/virtqueue.ts';
import type { CacheMode } from './cache-policy.ts';
import type { RequestCounters } from './counters.ts';
import { FsDevice } from './device.ts';
import type { FileSystem } from './file-system.ts';
import { Opcode } from './opcodes.ts';
import { InHeader, InitIn, OutHeader } from './structures.ts';

await loadLibc();

/** entries of each ring */
export const RING_SIZE = 64;
/** parts of a ring, from its first byte on; each ring has a page of its own */
const [AVAILABLE, USED, RING_BYTES] = [0x400, 0x600, 0x1000];
/** largest request, and largest reply, each with its header, in `bytes` */
export const BUFFER_BYTES = 1024 * 1024 + 4096;
/** pairs of buffers: requests that are open at the same time */
const SLOTS = 6;
const FLAG_NEXT = 1;
const FLAG_WRITE = 2;

/** The queue of FORGET and INTERRUPT, and the first one of all other requests. */
export const HIGH_PRIORITY = 0;
export const REQUESTS = 1;

/** Numbers of the wire, little-endian. */
export function u32s(...values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  for (const [i, value] of values.entries()) view.setUint32(i * 4, value, true);
  return new Uint8Array(view.buffer);
}

export function u64s(...values: readonly (number | bigint)[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 8));
  for (const [i, value] of values.entries())
    view.setBigUint64(i * 8, BigInt.asUintN(64, BigInt(value)), true);
  return new Uint8Array(view.buffer);
}

/** A string and the NUL behind it; a text as UTF-8. */
export function nameBytes(name: string | Uint8Array): Uint8Array {
  return Buffer.concat([typeof name === 'string' ? Buffer.from(name) : name, Uint8Array.of(0)]);
}

/** A request; members that are left out are valid. */
export interface TestRequest {
  readonly opcode: number;
  /** default: the root */
  readonly node?: number | bigint;
  /** structure, names and data behind the header, one after the other */
  readonly body?: readonly Uint8Array[];
  /** bytes of the buffer for the reply without its header; default: 4096 */
  readonly space?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly pid?: number;
  /** length in the header; default: that of the request */
  readonly length?: number;
  /** default: {@link REQUESTS} */
  readonly queue?: number;
  /** sizes of the buffers of the request; the rest is in a last one; default: the header, then all else */
  readonly split?: readonly number[];
  /** bytes of the buffer for the header of the reply; default: 16 */
  readonly headerSpace?: number;
}

export interface TestReply {
  /** `unique` of the request */
  readonly unique: number;
  /** positive number of the error; 0 where it succeeded; undefined where there is no reply */
  readonly error: number | undefined;
  /** reply without its header */
  readonly payload: DataView;
}

export interface DriverOptions {
  readonly files: FileSystem;
  readonly queues?: number;
  readonly readonly?: boolean;
  readonly cache?: CacheMode;
  readonly counters?: RequestCounters;
  /** receives the warnings of the device */
  readonly warn?: (message: string) => void;
}

interface Slot {
  readonly index: number;
  unique: number;
  queue: number;
}

/** A driver and its device, which runs. */
export class TestDriver {
  readonly device: FsDevice;
  /** number of interrupts of the guest */
  interrupts = 0;
  readonly #memory: TestMemory;
  readonly #ram: DataView;
  readonly #bytes: Uint8Array;
  readonly #rings: number;
  readonly #next: number[];
  readonly #seen: number[];
  readonly #free: Slot[] = Array.from({ length: SLOTS }, (_, index) => ({ index, unique: 0, queue: 0 }));
  readonly #used = new Map<number, Slot>();
  #running: Virtqueue[] = [];
  /** where the rings start next, if not where they stopped */
  #bases: number[] | undefined;
  #unique = 0;

  constructor({
    files,
    queues = 1,
    readonly = false,
    cache = 'auto',
    counters,
    warn = () => undefined,
  }: DriverOptions) {
    const quiet = (): void => undefined;
    const log = { error: quiet, warn, info: quiet, debug: quiet, trace: quiet };
    this.device = new FsDevice({ files, queues, readonly, cache, counters, log });
    this.#rings = queues + 1;
    this.#next = Array.from({ length: this.#rings }, () => 0);
    this.#seen = [...this.#next];
    const bytes = this.#rings * RING_BYTES + 2 * SLOTS * BUFFER_BYTES;
    this.#memory = makeMemory(Math.ceil(bytes / 4096) * 4096);
    this.#ram = this.#memory.ram;
    this.#bytes = new Uint8Array(this.#ram.buffer);
    this.start({ resumed: false });
  }

  /** Starts the rings, all or those of `queues`; with `resumed` where they stopped. */
  start({ resumed, queues: used }: { resumed: boolean; queues?: readonly number[] }): void {
    if (!resumed) {
      this.#bytes.fill(0, 0, this.#rings * RING_BYTES);
      this.#next.fill(0);
      this.#seen.fill(0);
      this.#free.push(...this.#used.values());
      this.#used.clear();
    }
    const bases = this.#bases ?? this.#running.map(({ base }) => base);
    this.#bases = undefined;
    this.#running = this.#next.map((_, index) => {
      const at = this.#memory.user + index * RING_BYTES;
      return new Virtqueue({
        memory: this.#memory.memory,
        addresses: { descriptors: at, available: at + AVAILABLE, used: at + USED },
        size: RING_SIZE,
        base: resumed ? (bases[index] ?? 0) : 0,
        rules: { eventIndex: false, indirect: false },
      });
    });
    const queues = this.#running.map((ring, index) =>
      used?.includes(index) === false ? undefined : { ring, notify: () => void this.interrupts++ },
    );
    this.device.start({ queues, memory: this.#memory.memory, resumed });
  }

  stop(): void {
    this.device.stop();
  }

  /** Takes over the guest of another driver, whose device is stopped: its memory, with the rings, and its open requests. */
  takeOver(source: TestDriver): void {
    this.#bytes.set(source.#bytes);
    for (const [i, next] of source.#next.entries()) {
      this.#next[i] = next;
      this.#seen[i] = source.#seen[i] ?? 0;
    }
    this.#bases = source.#running.map(({ base }) => base);
    this.#unique = source.#unique;
    this.#free.splice(0, this.#free.length, ...source.#free);
    for (const [index, slot] of source.#used) this.#used.set(index, slot);
  }

  /** Negotiates with all flags that Linux has. */
  init({ flags = 0xffff_ffff, flags2 = 0xffff_ffff, major = 7, minor = 38 } = {}): TestReply {
    const body = new Uint8Array(InitIn.bytes);
    body.set(u32s(major, minor, 131_072, flags, flags2));
    return this.call({ opcode: Opcode.Init, node: 0, body: [body] });
  }

  /** Makes a request available, without running the device. @returns its `unique` */
  submit(request: TestRequest): number {
    const slot = this.#free.pop();
    if (slot === undefined) throw new Error(`${SLOTS} requests are open`);
    slot.unique = ++this.#unique;
    slot.queue = request.queue ?? REQUESTS;
    this.#used.set(slot.index, slot);
    const bytes = encode(request, slot.unique);
    const [from, to] = this.#buffersOf(slot);
    if (bytes.length > BUFFER_BYTES) throw new Error(`a request of ${bytes.length} bytes`);
    this.#bytes.set(bytes, from);
    const { headerSpace = OutHeader.bytes, space = 4096 } = request;
    this.#bytes.fill(0xaa, to, to + Math.min(BUFFER_BYTES, headerSpace + Math.min(space, 4096)));
    const readable = split(bytes.length, request.split ?? [InHeader.bytes]);
    const writable = [headerSpace, space].filter((length) => length > 0);
    this.#offer(slot, [...place(from, readable), ...place(to, writable, FLAG_WRITE)]);
    this.device.kicked(slot.queue);
    return slot.unique;
  }

  /** Runs the device until it has handled all requests that it can. @returns the replies, in order */
  run(): TestReply[] {
    while (this.device.settle() === 0);
    return this.collect();
  }

  /** Returns the replies that have arrived. */
  collect(): TestReply[] {
    return [...this.#seen.keys()].flatMap((queue) => this.#collectQueue(queue));
  }

  /** Sends a request and returns its reply. @throws where the device does not finish it */
  call(request: TestRequest): TestReply {
    const unique = this.submit(request);
    const reply = this.run().find((one) => one.unique === unique);
    if (reply === undefined)
      throw new Error(`request ${unique} (operation ${request.opcode}) is not finished`);
    return reply;
  }

  /** Guest memory, to break the rules of the rings. */
  get ram(): DataView {
    return this.#ram;
  }

  [Symbol.dispose](): void {
    this.device[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
  }

  #buffersOf({ index }: Slot): readonly [from: number, to: number] {
    const from = this.#rings * RING_BYTES + 2 * index * BUFFER_BYTES;
    return [from, from + BUFFER_BYTES];
  }

  /** Writes descriptors, from the slot's own first one on. */
  #offer({ index, queue }: Slot, buffers: readonly GuestBuffer[]): void {
    const ring = queue * RING_BYTES;
    const first = index * Math.floor(RING_SIZE / SLOTS);
    for (const [i, { at, length, flags }] of buffers.entries()) {
      const descriptor = ring + (first + i) * 16;
      const isLast = i === buffers.length - 1;
      this.#ram.setBigUint64(descriptor, BigInt(at), true);
      this.#ram.setUint32(descriptor + 8, length, true);
      this.#ram.setUint16(descriptor + 12, flags | (isLast ? 0 : FLAG_NEXT), true);
      this.#ram.setUint16(descriptor + 14, isLast ? 0 : first + i + 1, true);
    }
    const next = this.#next[queue] ?? 0;
    this.#ram.setUint16(ring + AVAILABLE + 4 + (next % RING_SIZE) * 2, first, true);
    this.#next[queue] = (next + 1) & 0xffff;
    this.#ram.setUint16(ring + AVAILABLE + 2, (next + 1) & 0xffff, true);
  }

  #collectQueue(queue: number): TestReply[] {
    const ring = queue * RING_BYTES;
    const replies: TestReply[] = [];
    let seen = this.#seen[queue] ?? 0;
    while (this.#ram.getUint16(ring + USED + 2, true) !== seen) {
      const at = ring + USED + 4 + (seen % RING_SIZE) * 8;
      const index = this.#ram.getUint32(at, true) / Math.floor(RING_SIZE / SLOTS);
      const slot = this.#used.get(index);
      if (slot === undefined) throw new Error(`slot ${index} is returned, which is not used`);
      replies.push(this.#replyOf(slot, this.#ram.getUint32(at + 4, true)));
      this.#used.delete(index);
      this.#free.push(slot);
      seen = (seen + 1) & 0xffff;
    }
    this.#seen[queue] = seen;
    return replies;
  }

  /** Checks the header of a reply and copies it: the buffer is used again. */
  #replyOf(slot: Slot, written: number): TestReply {
    const { unique } = slot;
    const [, at] = this.#buffersOf(slot);
    if (written === 0) return { unique, error: undefined, payload: new DataView(new ArrayBuffer(0)) };
    const length = this.#ram.getUint32(at + OutHeader.length, true);
    const error = this.#ram.getInt32(at + OutHeader.error, true);
    const other = Number(this.#ram.getBigUint64(at + OutHeader.unique, true));
    if (length !== written || other !== unique || error > 0 || (error < 0 && length !== OutHeader.bytes))
      throw new Error(`invalid reply: ${JSON.stringify({ length, written, other, unique, error })}`);
    const payload = this.#bytes.slice(at + OutHeader.bytes, at + written);
    return { unique, error: Math.abs(error), payload: new DataView(payload.buffer) };
  }
}

/** Starts a device with its rings. */
export function startDriver(options: DriverOptions): TestDriver {
  return new TestDriver(options);
}

function encode(request: TestRequest, unique: number): Uint8Array {
  const { opcode, node = 1, body = [], uid = 0, gid = 0, pid = 0 } = request;
  const bytes = Buffer.concat([new Uint8Array(InHeader.bytes), ...body]);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint32(InHeader.length, request.length ?? bytes.length, true);
  view.setUint32(InHeader.opcode, opcode, true);
  view.setBigUint64(InHeader.unique, BigInt(unique), true);
  view.setBigUint64(InHeader.node, BigInt.asUintN(64, BigInt(node)), true);
  view.setUint32(InHeader.uid, uid, true);
  view.setUint32(InHeader.gid, gid, true);
  view.setUint32(InHeader.pid, pid, true);
  return bytes;
}

interface GuestBuffer {
  readonly at: number;
  readonly length: number;
  readonly flags: number;
}

/** Lengths of buffers for so many bytes: those that are asked for, and one for the rest. */
function split(bytes: number, sizes: readonly number[]): number[] {
  let left = bytes;
  const lengths: number[] = [];
  for (const size of sizes) {
    const length = Math.min(size, left);
    lengths.push(length);
    left -= length;
  }
  return [...lengths, left].filter((length) => length > 0);
}

function place(from: number, lengths: readonly number[], flags = 0): GuestBuffer[] {
  let at = from;
  return lengths.map((length) => {
    const buffer = { at, length, flags };
    at += length;
    return buffer;
  });
}
