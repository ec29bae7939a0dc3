// Hostile packets: whatever a guest says in a packet's header, the device answers with packets that are right, sends no more
// than the guest has room for, and goes on for its other connections. Real rings in shared memory, real sockets.
import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { array, assert as check, constantFrom, nat, oneof, property, record } from 'fast-check';
import { EventLoop } from '../event-loop.ts';
import { close, viewOf } from '../native.ts';
import { GuestMemory } from '../vhost-user/memory.ts';
import { Virtqueue } from '../vhost-user/queue.ts';
import { VsockDevice } from './device.ts';
import { decodeHeader, emptyHeader, encodeHeader, HEADER_BYTES, Op, type Header } from './packet.ts';
import { acceptFrom, connectTo, listenAt } from './unix-socket.ts';

const CID = 3;
const SIZE = 16;
const RAM = 256 * 1024;
const USER = 0x7000_0000_0000;
/** a ring's table, available and used parts, from its first byte on */
const [AVAILABLE, USED, RING_BYTES] = [0x400, 0x600, 0x1000];
const BUFFER_BYTES = 4096;
const [TO_GUEST, FROM_GUEST] = [0, 1];
const LISTENED_PORT = 7;
const GUEST_PORT = 1000;

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

  /** Calls `take` with each buffer that came back. */
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

interface Bench {
  readonly device: VsockDevice;
  readonly loop: EventLoop;
  readonly toGuest: DriverRing;
  readonly fromGuest: DriverRing;
  /** what a program of the host listens on for the guest */
  readonly hostListener: number;
  readonly path: string;
  readonly [Symbol.dispose]: () => void;
}

function bench(): Bench {
  const folder = mkdtempSync(join(tmpdir(), 'packets-'));
  const path = join(folder, 'v');
  const fd = openSync(join(folder, 'ram'), 'w+');
  ftruncateSync(fd, RAM);
  const memory = new GuestMemory();
  memory.add({ guestAddress: 0, size: RAM, userAddress: USER, offset: 0 }, fd);
  closeSync(fd);
  const listener = listenAt(path);
  const host = listenAt(`${path}_${LISTENED_PORT}`);
  const loop = new EventLoop();
  const quiet = (): void => undefined;
  const log = { error: quiet, warn: quiet, info: quiet, debug: quiet, trace: quiet };
  const device = new VsockDevice({ cid: CID, path, listener: listener.fd, loop, log });
  const rings = [TO_GUEST, FROM_GUEST].map((index) => {
    const at = USER + index * RING_BYTES;
    const addresses = { descriptors: at, available: at + AVAILABLE, used: at + USED };
    const rules = { eventIndex: false, indirect: false };
    return new Virtqueue({ memory, addresses, size: SIZE, base: 0, rules });
  });
  const queues = rings.map((ring) => ({ ring, notify: () => undefined }));
  device.start({ queues, memory, resumed: false });
  const ram = viewOf(memory.ofUser(USER, RAM) ?? 0, RAM);
  const [toGuest, fromGuest] = [new DriverRing(ram, TO_GUEST), new DriverRing(ram, FROM_GUEST)];
  for (let i = 0; i < SIZE; i++) toGuest.offer(BUFFER_BYTES);
  return {
    ...{ device, loop, toGuest, fromGuest, hostListener: host.fd, path },
    [Symbol.dispose]: () => {
      device[Symbol.dispose]();
      loop[Symbol.dispose]();
      listener.close();
      host.close();
      memory.clear();
      rmSync(folder, { recursive: true });
    },
  };
}

/** Runs the loop with one step of the guest's or the host's before each turn of the device. */
function play({ device, loop }: Bench, steps: Iterator<void>): void {
  loop.run(() => {
    if (steps.next().done === true) loop.stop();
    device.settle();
    return 0;
  });
}

function send({ device, fromGuest }: Bench, header: Partial<Header>, bytes: number): void {
  const whole = { ...emptyHeader(), sourceCid: CID, targetCid: 2, type: 1, length: bytes, ...header };
  encodeHeader(fromGuest.nextBuffer, whole);
  fromGuest.offer(HEADER_BYTES + bytes);
  device.kicked(FROM_GUEST);
}

/** Takes what the guest got, and gives each buffer again. */
function receive({ toGuest }: Bench): Header[] {
  const headers: Header[] = [];
  const count = toGuest.collect((buffer, written) => {
    const header = emptyHeader();
    decodeHeader(buffer, header);
    assert.equal(header.length, written - HEADER_BYTES, 'the length is that of the data');
    headers.push(header);
  });
  for (let i = 0; i < count; i++) toGuest.offer(BUFFER_BYTES);
  return headers;
}

const KNOWN_OPS: readonly number[] = Object.values(Op);
const edge = constantFrom(0, 1, 2, 4096, 65_536, 2 ** 31, 2 ** 32 - 1);

/** One packet, mostly for connections that there are. */
const packet = record({
  header: record(
    {
      sourceCid: constantFrom(0, 2, CID + 2 ** 32, 2 ** 32 - 1),
      targetCid: constantFrom(0, 1, CID, 2 ** 32 + 2),
      type: constantFrom(0, 2, 0xffff),
      length: edge,
      window: edge,
      forwarded: edge,
      flags: edge,
    },
    { requiredKeys: [] },
  ),
  sourcePort: oneof({ weight: 6, arbitrary: constantFrom(5, GUEST_PORT) }, { weight: 1, arbitrary: edge }),
  targetPort: oneof(
    { weight: 6, arbitrary: constantFrom(LISTENED_PORT, 2 ** 30, 2 ** 30 + 1) },
    { weight: 1, arbitrary: edge },
  ),
  op: oneof({ weight: 9, arbitrary: constantFrom(...KNOWN_OPS) }, { weight: 1, arbitrary: nat(0xffff) }),
  bytes: constantFrom(0, 0, 1, 100, BUFFER_BYTES - HEADER_BYTES),
});

test('hostile packets are answered with right ones, and a stream of another still comes about', () => {
  check(
    property(array(packet, { minLength: 1, maxLength: 40 }), (packets) => {
      using guest = bench();
      const own = connectTo(guest.path);
      writeSync(own, 'CONNECT 5\nsome data that the guest may have room for or not');
      const steps = function* (): Generator<void> {
        for (const { header, sourcePort, targetPort, op, bytes } of packets) {
          send(guest, { sourcePort, targetPort, op, ...header }, bytes);
          yield;
          for (const answer of receive(guest)) checkAnswer(answer);
          guest.fromGuest.collect(() => undefined);
        }
        send(guest, { sourcePort: 77, targetPort: LISTENED_PORT, op: Op.Request, window: 65_536 }, 0);
        yield;
        const answers = receive(guest).filter(({ targetPort }) => targetPort === 77);
        assert.deepEqual(
          answers.map(({ op }) => op),
          [Op.Response],
        );
      };
      play(guest, steps());
      close(own);
    }),
    { numRuns: 150 },
  );
});

function checkAnswer({ sourceCid, targetCid, type, op }: Header): void {
  assert.deepEqual([sourceCid, targetCid, type], [2, CID, 1]);
  assert.ok(KNOWN_OPS.includes(op), `op ${op}`);
}

test('a guest gets no more than it says it has room for, whatever it says', () => {
  const claim = record({ window: edge, forwarded: edge });
  check(
    property(array(claim, { maxLength: 12 }), (claims) => {
      using guest = bench();
      const ports = { sourcePort: GUEST_PORT, targetPort: LISTENED_PORT };
      const steps = function* (): Generator<void> {
        send(guest, { ...ports, op: Op.Request, window: 10 }, 0);
        yield;
        const program = acceptFrom(guest.hostListener);
        writeSync(program, Buffer.alloc(100_000));
        let sent = 0;
        let room = 10;
        for (const { window, forwarded } of [{ window: 10, forwarded: 0 }, ...claims]) {
          send(guest, { ...ports, op: Op.CreditUpdate, window, forwarded }, 0);
          const before = sent;
          room = Math.max(0, window - ((sent - forwarded) >>> 0));
          yield;
          yield;
          for (const { op, length } of receive(guest)) sent += op === Op.Data ? length : 0;
          guest.fromGuest.collect(() => undefined);
          assert.ok(sent - before <= room, `${sent - before} bytes for room of ${room}`);
        }
        close(program);
      };
      play(guest, steps());
    }),
    { numRuns: 100 },
  );
});

test('more than it was given room for ends the stream with a reset', () => {
  using guest = bench();
  const ports = { sourcePort: GUEST_PORT, targetPort: LISTENED_PORT };
  const steps = function* (): Generator<void> {
    send(guest, { ...ports, op: Op.Request, window: 65_536 }, 0);
    yield;
    const [response] = receive(guest);
    assert.equal(response?.op, Op.Response);
    const bytes = BUFFER_BYTES - HEADER_BYTES;
    // nobody reads at the other end: the socket takes some, the window the rest
    const enough = Math.ceil((response.window + 2 ** 20) / bytes);
    const got: number[] = [];
    for (let i = 0; i < enough && got.at(-1) !== Op.Reset; i++) {
      send(guest, { ...ports, op: Op.Data, window: 65_536 }, bytes);
      yield;
      got.push(...receive(guest).map(({ op }) => op));
      guest.fromGuest.collect(() => undefined);
    }
    assert.equal(got.at(-1), Op.Reset);
  };
  play(guest, steps());
});
