// A guest for tests of the device: the driver's side of both rings in shared memory, and real sockets.
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listenAtPath } from '../../native/listening-socket.ts';
import { EventLoop } from '../event-loop.ts';
import { loadLibc } from '../../native/libc.ts';
import { makeMemory } from '../vhost-user/test-memory.ts';
import { Virtqueue } from '../vhost-user/virtqueue.ts';
import { VsockDevice } from './device.ts';
import { decodeHeader, emptyHeader, encodeHeader, HEADER_BYTES, type Header } from './packet.ts';

await loadLibc();

export const CID = 3;
const SIZE = 16;
const RAM = 256 * 1024;
/** a ring's table, available and used parts, from its first byte on */
const [AVAILABLE, USED, RING_BYTES] = [0x400, 0x600, 0x1000];
export const BUFFER_BYTES = 4096;
/** the rings' numbers */
const [TO_GUEST, FROM_GUEST] = [0, 1];
/** a program of the host listens on it for the guest */
export const LISTENED_PORT = 7;

/** A driver's half of one ring, where each entry has one buffer. */
class DriverRing {
  readonly #ram: DataView;
  readonly #at: number;
  readonly #writable: boolean;
  readonly #buffers: number;
  #next = 0;
  #seen = 0;

  constructor(ram: DataView, index: number) {
    this.#ram = ram;
    this.#at = index * RING_BYTES;
    this.#writable = index === TO_GUEST;
    this.#buffers = 2 * RING_BYTES + index * SIZE * BUFFER_BYTES;
  }

  buffer(entry: number): DataView {
    return new DataView(this.#ram.buffer, this.#ram.byteOffset + this.#buffers + entry * BUFFER_BYTES);
  }

  offer(length: number): void {
    const entry = this.#next % SIZE;
    const descriptor = this.#at + entry * 16;
    this.#ram.setBigUint64(descriptor, BigInt(this.#buffers + entry * BUFFER_BYTES), true);
    this.#ram.setUint32(descriptor + 8, length, true);
    this.#ram.setUint16(descriptor + 12, this.#writable ? 2 : 0, true);
    this.#ram.setUint16(this.#at + AVAILABLE + 4 + entry * 2, entry, true);
    this.#next = (this.#next + 1) & 0xffff;
    this.#ram.setUint16(this.#at + AVAILABLE + 2, this.#next, true);
  }

  get nextBuffer(): DataView {
    return this.buffer(this.#next % SIZE);
  }

  /** Calls `take` with each used buffer. */
  collect(take: (buffer: DataView, written: number) => void): number {
    let count = 0;
    while (this.#ram.getUint16(this.#at + USED + 2, true) !== this.#seen) {
      const at = this.#at + USED + 4 + (this.#seen % SIZE) * 8;
      take(this.buffer(this.#ram.getUint32(at, true)), this.#ram.getUint32(at + 4, true));
      this.#seen = (this.#seen + 1) & 0xffff;
      count++;
    }
    return count;
  }
}

/** A device with both rings in memory, to which a test writes as the guest. */
export interface Bench {
  readonly device: VsockDevice;
  readonly loop: EventLoop;
  readonly toGuest: DriverRing;
  readonly fromGuest: DriverRing;
  /** listening socket of a program of the host, for connections of the guest */
  readonly hostListener: number;
  readonly path: string;
  readonly [Symbol.dispose]: () => void;
}

export async function bench(): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), 'packets-'));
  const path = join(folder, 'v');
  const made = makeMemory(RAM);
  const { memory, ram } = made;
  const listener = await listenAtPath(path);
  const host = await listenAtPath(`${path}_${LISTENED_PORT}`);
  const loop = new EventLoop();
  const quiet = (): void => undefined;
  const log = { error: quiet, warn: quiet, info: quiet, debug: quiet, trace: quiet };
  const device = new VsockDevice({ cid: CID, path, listener: listener.fd, loop, log });
  const rings = [TO_GUEST, FROM_GUEST].map((index) => {
    const at = made.user + index * RING_BYTES;
    const addresses = { descriptors: at, available: at + AVAILABLE, used: at + USED };
    const rules = { eventIndex: false, indirect: false };
    return new Virtqueue({ memory, addresses, size: SIZE, base: 0, rules });
  });
  const queues = rings.map((ring) => ({ ring, notify: () => undefined }));
  device.start({ queues, memory, resumed: false });
  const [toGuest, fromGuest] = [new DriverRing(ram, TO_GUEST), new DriverRing(ram, FROM_GUEST)];
  for (let i = 0; i < SIZE; i++) toGuest.offer(BUFFER_BYTES);
  return {
    ...{ device, loop, toGuest, fromGuest, hostListener: host.fd, path },
    [Symbol.dispose]: () => {
      device[Symbol.dispose]();
      loop[Symbol.dispose]();
      for (const { fd, removeFile } of [listener, host]) {
        removeFile();
        closeSync(fd);
      }
      made[Symbol.dispose]();
      rmSync(folder, { recursive: true });
    },
  };
}

/** Runs the loop with one step of the guest or the host before each run of the device. */
export function play({ device, loop }: Bench, steps: Iterator<void>): void {
  loop.run(() => {
    if (steps.next().done === true) loop.stop();
    device.settle();
    return 0;
  });
}

/** Sends a packet from the guest with data: that of a `Buffer`, or so many bytes with the buffer's previous content. */
export function send({ device, fromGuest }: Bench, header: Partial<Header>, data: number | Uint8Array): void {
  const bytes = typeof data === 'number' ? data : data.length;
  const whole = { ...emptyHeader(), sourceCid: CID, targetCid: 2, type: 1, length: bytes, ...header };
  const buffer = fromGuest.nextBuffer;
  encodeHeader(buffer, whole);
  if (typeof data !== 'number') new Uint8Array(buffer.buffer, buffer.byteOffset + HEADER_BYTES).set(data);
  fromGuest.offer(HEADER_BYTES + bytes);
  device.kicked(FROM_GUEST);
}

/** Returns the headers of the guest's packets, and makes each buffer available again. `take` receives the data of each packet. */
export function receive({ toGuest }: Bench, take: (data: Uint8Array) => void = () => undefined): Header[] {
  const headers: Header[] = [];
  const count = toGuest.collect((buffer, written) => {
    const header = emptyHeader();
    decodeHeader(buffer, header);
    assert.equal(header.length, written - HEADER_BYTES, 'the length is that of the data');
    take(new Uint8Array(buffer.buffer, buffer.byteOffset + HEADER_BYTES, header.length));
    headers.push(header);
  });
  for (let i = 0; i < count; i++) toGuest.offer(BUFFER_BYTES);
  return headers;
}
