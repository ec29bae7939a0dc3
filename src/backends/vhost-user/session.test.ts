// Messages of a front-end: in valid and invalid order, with invalid tables, and over a second connection.
import assert from 'node:assert/strict';
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { EventLoop } from '../event-loop.ts';
import { openEventfd } from '../../native/epoll.ts';
import { createSend } from '../../native/descriptor-passing.ts';
import { libc } from '../../native/libc.ts';
import { allocate } from '../../native/memory.ts';
import { MSG_DONTWAIT, openSocketPair } from '../../native/unix-socket.ts';
import type { Device, Start } from './device.ts';
import { encodeState, encodeU64, Request } from './message.ts';
import { Session } from './session.ts';

const send = await createSend();

const RAM = 64 * 1024;
const USER = 0x7000_0000_0000n;
const NEED_REPLY = 9;
const VERSION = 1;
const PROTOCOL_FEATURES = 1n << 30n;
const EVENT_INDEX = 1n << 29n;

/** Calls of the device's functions, in order. */
interface Seen {
  readonly events: string[];
  last?: Start;
  isOver: boolean;
}

interface Bench {
  readonly seen: Seen;
  /** Sends a request; `more` is sent over its payload's end, `fds` with it. */
  readonly send: (request: number, payload?: Uint8Array, fds?: readonly number[]) => void;
  /** The reply's payload as a number; undefined where there is none. */
  readonly reply: () => bigint | undefined;
  readonly raw: (bytes: Uint8Array) => void;
  readonly session: Session;
}

/** Runs the front-end's steps; at each `yield` the session handles the sent messages. */
function withSession(steps: (bench: Bench) => Iterator<void>, continuesRings = false): Seen {
  const seen: Seen = { events: [], isOver: false };
  const device: Device = {
    features: 0n,
    queues: 2,
    config: () => Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0),
    start: (start) => {
      seen.events.push(start.resumed ? 'resumed' : 'started');
      seen.last = start;
    },
    stop: () => seen.events.push('stopped'),
    kicked: (queue) => seen.events.push(`kicked ${queue}`),
    reset: () => seen.events.push('reset'),
  };
  const quiet = (): void => undefined;
  const log = { error: quiet, warn: quiet, info: quiet, debug: quiet, trace: quiet };
  const [ours, theirs] = openSocketPair();
  using loop = new EventLoop();
  using session = new Session({
    fd: ours,
    loop,
    device,
    log,
    continuesRings,
    onEnd: () => (seen.isOver = true),
  });
  const iterator = steps({
    seen,
    send: (request, payload = new Uint8Array(), fds = []) => {
      const header = new Uint32Array([request, NEED_REPLY, payload.length]);
      transmit(theirs, Buffer.concat([new Uint8Array(header.buffer), payload]), fds);
    },
    reply: () => receiveReply(theirs),
    raw: (bytes) => transmit(theirs, bytes, []),
    session,
  });
  loop.run(() => {
    if (iterator.next().done === true) loop.stop();
    return 0;
  });
  libc().close(theirs);
  return seen;
}

/** Sends bytes with copies of descriptors. */
function transmit(fd: number, bytes: Uint8Array, fds: readonly number[]): void {
  assert.equal(send(fd, Buffer.from(bytes), fds), bytes.length);
}

function receiveReply(fd: number): bigint | undefined {
  const block = allocate(4096);
  const count = libc().recv(fd, block.address, 4096, MSG_DONTWAIT);
  const value = count >= 20 ? block.view.getBigUint64(12, true) : undefined;
  block.free();
  return value;
}

function memoryFile(): number {
  const folder = mkdtempSync(join(tmpdir(), 'session-'));
  const fd = openSync(join(folder, 'ram'), 'w+');
  ftruncateSync(fd, RAM);
  rmSync(folder, { recursive: true });
  return fd;
}

type Region = readonly [guest: bigint, size: bigint, user: bigint, offset: bigint];

function table(regions: readonly Region[], count: number = regions.length): Uint8Array {
  const bytes = new Uint8Array(8 + regions.length * 32);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, count, true);
  for (const [i, region] of regions.entries())
    for (const [j, value] of region.entries()) view.setBigUint64(8 + i * 32 + j * 8, value, true);
  return bytes;
}

function addresses(index: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(40));
  view.setUint32(0, index, true);
  const at = USER + BigInt(index * 0x1000);
  for (const [i, value] of [at, at + 0x600n, at + 0x400n].entries())
    view.setBigUint64(8 + i * 8, value, true);
  return new Uint8Array(view.buffer);
}

const GOOD: Region = [0n, BigInt(RAM), USER, 0n];

/** The requests by which QEMU starts two rings, in its order; each with its descriptor. */
function startRequests(memory: number, kick: number): [number, Uint8Array, number[]][] {
  return [
    [Request.SetOwner, new Uint8Array(), []],
    [Request.SetFeatures, encodeU64(PROTOCOL_FEATURES | EVENT_INDEX), []],
    [Request.SetMemTable, table([GOOD]), [memory]],
    ...[0, 1].flatMap((index): [number, Uint8Array, number[]][] => [
      [Request.SetVringNum, encodeState(index, 16), []],
      [Request.SetVringBase, encodeState(index, 0), []],
      [Request.SetVringAddr, addresses(index), []],
      [Request.SetVringKick, encodeU64(BigInt(index)), [kick]],
      [Request.SetVringEnable, encodeState(index, 1), []],
    ]),
  ];
}

function* start(
  { send, reply }: Bench,
  requests: readonly [number, Uint8Array, number[]][],
): Generator<void> {
  for (const [request, payload, fds] of requests) {
    send(request, payload, fds);
    yield;
    assert.equal(reply(), 0n, `request ${request}`);
  }
}

/** Descriptors that a session must close. Files that Node itself opens for a moment do not count. */
function open(memory: number): string[] {
  const targets = readdirSync('/proc/self/fd').flatMap((fd) => targetOf(fd) ?? []);
  const file = targetOf(String(memory));
  return targets.filter((target) => target === file || /^(socket|anon_inode):/.test(target)).toSorted();
}

/** Returns the target of a descriptor; undefined where it is closed. */
function targetOf(fd: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
}

function withDescriptors(use: (memory: number, kick: number) => void): void {
  const [memory, kick] = [memoryFile(), openEventfd()];
  const before = open(memory);
  use(memory, kick);
  assert.deepEqual(open(memory), before, 'descriptors were left open');
  closeSync(memory);
  libc().close(kick);
}

test('a front-end that behaves as QEMU starts the device, pauses it, resumes it and disconnects', () => {
  withDescriptors((memory, kick) => {
    const requests = startRequests(memory, kick);
    const seen = withSession(function* (bench) {
      const { seen, send, reply } = bench;
      yield* start(bench, requests);
      assert.ok(seen.events.includes('started'));
      for (const index of [0, 1]) {
        send(Request.GetVringBase, encodeState(index, 0));
        yield;
        assert.equal(reply(), BigInt(index), 'the ring and where it stands');
      }
      assert.equal(seen.events.at(-1), 'stopped');
      yield* start(
        bench,
        requests.filter(([request]) => request === Request.SetVringKick),
      );
      assert.equal(seen.events.includes('resumed'), true);
    });
    assert.deepEqual(seen.events.slice(-2), ['stopped', 'reset'], 'its end is the device’s');
  });
});

test('the device starts with the last parameter that it needs, in any order', () => {
  withDescriptors((memory, kick) => {
    const requests = startRequests(memory, kick);
    for (const order of [requests.toReversed(), [...requests.slice(5), ...requests.slice(0, 5)]]) {
      const seen = withSession((bench) => start(bench, order));
      assert.ok(seen.events.includes('started'), seen.events.join());
    }
  });
});

test('a front-end that reconnects starts a new device', () => {
  withDescriptors((memory, kick) => {
    for (let life = 0; life < 3; life++) {
      const seen = withSession((bench) => start(bench, startRequests(memory, kick)));
      assert.equal(seen.events.includes('resumed'), false);
      assert.ok(seen.events.includes('started'));
    }
  });
});

test('a second session of the same driver continues at the rings, and resets nothing', () => {
  withDescriptors((memory, kick) => {
    const used = [5, 0xfffe];
    for (const [i, index] of used.entries()) {
      for (const part of [0x402, 0x602]) writeSync(memory, Uint16Array.of(index), 0, 2, i * 0x1000 + part);
    }
    const seen = withSession(function* (bench) {
      const { seen, send, reply, session } = bench;
      yield* start(bench, [[Request.ResetDevice, new Uint8Array(), []], ...startRequests(memory, kick)]);
      assert.deepEqual(seen.events.slice(0, 1), ['resumed']);
      assert.equal(seen.events.includes('reset'), false);
      for (const [i, index] of used.entries()) {
        send(Request.GetVringBase, encodeState(i, 0));
        yield;
        assert.equal(reply(), BigInt(i) + (BigInt(index) << 32n));
      }
      // another driver: a start without history
      send(Request.ResetDevice);
      yield;
      assert.equal(seen.events.at(-1), 'reset');
      session.handOver();
    }, true);
    assert.equal(
      seen.events.filter((event) => event === 'reset').length,
      1,
      'the end of a session does not reset the device',
    );
  });
});

test('invalid memory is refused, and the connection continues', () => {
  const bad: readonly (readonly [string, Uint8Array, number])[] = [
    ['beyond its file', table([[0n, BigInt(RAM) + 1n, USER, 0n]]), 1],
    ['its offset beyond its file', table([[0n, 4096n, USER, BigInt(RAM)]]), 1],
    ['empty', table([[0n, 0n, USER, 0n]]), 1],
    ['overlapping', table([GOOD, [4096n, 4096n, USER, 0n]]), 2],
    ['without a descriptor', table([GOOD]), 0],
    ['too few descriptors', table([GOOD, [BigInt(RAM), 4096n, USER + BigInt(RAM), 0n]]), 1],
    ['more regions than may be', table([GOOD], 9), 1],
    ['a count beyond the payload', table([GOOD], 2), 2],
    ['an address that nothing has', table([[2n ** 63n, 4096n, USER, 0n]]), 1],
    ['no payload', new Uint8Array(), 0],
  ];
  withDescriptors((memory, kick) => {
    withSession(function* (bench) {
      for (const [what, payload, fds] of bad) {
        bench.send(Request.SetMemTable, payload, Array<number>(fds).fill(memory));
        yield;
        assert.equal(bench.reply(), 1n, what);
        assert.equal(bench.seen.isOver, false, what);
      }
      yield* start(bench, startRequests(memory, kick));
    });
  });
});

test('requests with unknown rings, features not offered or unknown numbers are refused', () => {
  withDescriptors((memory, kick) => {
    const seen = withSession(function* ({ send, reply }) {
      const bad: readonly (readonly [number, Uint8Array, number[]])[] = [
        [Request.SetVringNum, encodeState(2, 16), []],
        [Request.SetVringKick, encodeU64(7n), [kick]],
        [Request.SetVringCall, encodeU64(0n), []],
        [Request.SetFeatures, encodeU64(1n << 40n), []],
        [Request.SetVringAddr, new Uint8Array(39), []],
        [999, new Uint8Array(), [memory]],
      ];
      for (const [request, payload, fds] of bad) {
        send(request, payload, fds);
        yield;
        assert.equal(reply(), 1n, `request ${request}`);
      }
    });
    assert.equal(seen.isOver, false);
  });
});

test('bytes that are no message end the connection', () => {
  const header = (...words: number[]): Uint8Array => new Uint8Array(new Uint32Array(words).buffer);
  for (const bytes of [header(1, 2, 0), header(1, VERSION, 2 ** 31), header(1, 0, 0)]) {
    const seen = withSession(function* ({ raw }) {
      raw(bytes);
      yield;
      yield;
    });
    assert.equal(seen.isOver, true);
    assert.equal(seen.events.at(-1), 'reset');
  }
});
