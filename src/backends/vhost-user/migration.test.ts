// Migration by the front-end: the device's state through a channel, and the dirty log of a running device.
import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { test } from 'node:test';
import { EventLoop } from '../event-loop.ts';
import { libc } from '../../native/libc.ts';
import { allocate } from '../../native/memory.ts';
import { MSG_DONTWAIT, openSocketPair, SOCK_NONBLOCK } from '../../native/unix-socket.ts';
import { Chain } from './descriptor-chain.ts';
import type { RunningQueue } from './device.ts';
import { Direction, encodeState, encodeU64, ProtocolFeature, Request, RingFeature } from './message.ts';
import { readState } from './state-channel.ts';
import {
  addresses,
  EVENT_INDEX,
  GOOD,
  logArea,
  mapped,
  memoryFile,
  PROTOCOL_FEATURES,
  RAM,
  start,
  startRequests,
  table,
  withDescriptors,
  withSession,
  type Bench,
  type Region,
} from './test-front-end.ts';

const LOG_ALL = 1n << RingFeature.LogAll;
const MIGRATION = (1n << ProtocolFeature.LogShmfd) | (1n << ProtocolFeature.DeviceState);

/** Replies: the front-end's channel is used; the same with an error; the state was transferred; it was not. */
const [ACCEPTED, REFUSED, DONE, FAILED] = [0x100n, 0x101n, 0n, 1n];

const save = (): Uint8Array => Uint8Array.of(1, 2, 3);
const load = (): void => undefined;

/** More than a pipe or a socket holds. */
const LARGE = new Uint8Array(3 * 2 ** 20).map((_, i) => i % 251);

/** A channel for a state: the front-end's end, and a copy of the back-end's in the session. */
function openChannel(): readonly [own: number, other: number] {
  return openSocketPair(SOCK_NONBLOCK);
}

/** Requests a transfer. @returns the front-end's end of the channel */
function* transfer(bench: Bench, direction: number, phase = 0, expected = ACCEPTED): Generator<void, number> {
  const [own, other] = openChannel();
  bench.send(Request.SetDeviceStateFd, encodeState(direction, phase), [other]);
  libc().close(other);
  yield;
  assert.equal(bench.reply(), expected);
  return own;
}

/** Reads all bytes of a channel while the session runs. */
function* readAll(fd: number): Generator<void, Buffer> {
  const block = allocate(2 ** 16);
  const parts: Buffer[] = [];
  for (;;) {
    const count = libc().recv(fd, block.address, 2 ** 16, MSG_DONTWAIT);
    if (count === 0) break;
    if (count < 0) yield;
    else parts.push(Buffer.from(Buffer.from(block.view.buffer, block.view.byteOffset, count)));
  }
  block.free();
  libc().close(fd);
  return Buffer.concat(parts);
}

/** Writes bytes into a channel while the session runs. */
function* writeAll(fd: number, bytes: Uint8Array): Generator<void> {
  for (let done = 0; done < bytes.length;) {
    const sent = libc().send(fd, libc().addressOf(bytes) + done, bytes.length - done, MSG_DONTWAIT);
    if (sent < 0) yield;
    else done += sent;
  }
}

function* check({ send, reply }: Bench): Generator<void, bigint | undefined> {
  send(Request.CheckDeviceState);
  yield;
  return reply();
}

test('a device with a state offers the dirty log and the transfer, another one neither', () => {
  for (const [traits, features, protocol] of [
    [{ save, load }, LOG_ALL, MIGRATION],
    [{}, 0n, 0n],
  ] as const) {
    withSession(
      function* ({ send, reply }) {
        send(Request.GetFeatures);
        yield;
        assert.equal((reply() ?? 0n) & LOG_ALL, features);
        send(Request.GetProtocolFeatures);
        yield;
        assert.equal((reply() ?? 0n) & MIGRATION, protocol);
      },
      { traits },
    );
  }
});

test('a device without a state refuses the log, the transfer and the check', () => {
  withDescriptors((memory) => {
    withSession(function* (bench) {
      const { send, reply } = bench;
      send(Request.SetFeatures, encodeU64(LOG_ALL));
      yield;
      assert.equal(reply(), 1n);
      send(Request.SetLogBase, logArea(4096), [memory]);
      yield;
      assert.equal(reply(), 1n);
      libc().close(yield* transfer(bench, Direction.save, 0, REFUSED));
      assert.equal(yield* check(bench), FAILED);
    });
  });
});

test('a state larger than a pipe is saved while the front-end reads, and again', () => {
  withDescriptors(() => {
    withSession(
      function* (bench) {
        for (let i = 0; i < 2; i++) {
          const channel = yield* transfer(bench, Direction.save);
          assert.deepEqual(yield* readAll(channel), Buffer.from(LARGE));
          assert.equal(yield* check(bench), DONE);
        }
      },
      { traits: { save: () => LARGE, load } },
    );
  });
});

test('a state larger than a pipe is loaded, also where the check arrives with its end', () => {
  withDescriptors((memory, kick) => {
    const loaded: Uint8Array[] = [];
    const seen = withSession(
      function* (bench) {
        const channel = yield* transfer(bench, Direction.load);
        yield* writeAll(channel, LARGE);
        libc().close(channel);
        assert.equal(yield* check(bench), DONE);
        yield* start(bench, startRequests(memory, kick));
      },
      { traits: { save, load: (state) => void loaded.push(state) } },
    );
    assert.deepEqual(loaded, [LARGE]);
    assert.deepEqual(
      seen.events.filter((event) => event !== 'stopped').slice(0, -1),
      seen.events.filter((event) => event === 'resumed'),
      'no start of the device is the first of a driver',
    );
    assert.ok(seen.events.includes('resumed'));
  });
});

test('the check is answered when the channel has ended, and other requests meanwhile', () => {
  withSession(
    function* (bench) {
      const channel = yield* transfer(bench, Direction.load);
      assert.equal(yield* check(bench), undefined);
      bench.send(Request.GetQueueNum);
      yield;
      assert.equal(bench.reply(), 2n);
      libc().close(channel);
      yield;
      assert.equal(bench.reply(), DONE);
    },
    { traits: { save, load } },
  );
});

test('a state that the device refuses fails the check, and the device starts as new', () => {
  withDescriptors((memory, kick) => {
    const refuse = (): void => {
      throw new Error('version 7');
    };
    const seen = withSession(
      function* (bench) {
        const channel = yield* transfer(bench, Direction.load);
        yield* writeAll(channel, Uint8Array.of(7));
        libc().close(channel);
        assert.equal(yield* check(bench), FAILED);
        yield* start(bench, startRequests(memory, kick));
      },
      { traits: { save, load: refuse } },
    );
    assert.equal(seen.events[0], 'started');
  });
});

test('a reset after a load ends the loaded state', () => {
  withDescriptors((memory, kick) => {
    const seen = withSession(
      function* (bench) {
        libc().close(yield* transfer(bench, Direction.load));
        assert.equal(yield* check(bench), DONE);
        yield* start(bench, [[Request.ResetDevice, new Uint8Array(), []], ...startRequests(memory, kick)]);
      },
      { traits: { save, load } },
    );
    assert.deepEqual(seen.events.slice(0, 2), ['reset', 'started']);
  });
});

test('transfers of a running device, of unknown phases and directions are refused', () => {
  withDescriptors((memory, kick) => {
    withSession(
      function* (bench) {
        libc().close(yield* transfer(bench, Direction.save, 1, REFUSED));
        libc().close(yield* transfer(bench, 2, 0, REFUSED));
        bench.send(Request.SetDeviceStateFd, encodeState(Direction.save, 0));
        yield;
        assert.equal(bench.reply(), 1n, 'without a channel');
        yield* start(bench, startRequests(memory, kick));
        libc().close(yield* transfer(bench, Direction.save, 0, REFUSED));
        assert.equal(yield* check(bench), FAILED);
      },
      { traits: { save, load } },
    );
  });
});

test('a channel that is closed early fails the check, and a further transfer starts over', () => {
  withDescriptors(() => {
    withSession(
      function* (bench) {
        libc().close(yield* transfer(bench, Direction.save));
        yield;
        assert.equal(yield* check(bench), FAILED);
        const former = yield* transfer(bench, Direction.save);
        const channel = yield* transfer(bench, Direction.save);
        assert.deepEqual(yield* readAll(channel), Buffer.from(LARGE));
        libc().close(former);
        assert.equal(yield* check(bench), DONE);
        // the session ends in the middle of this one
        libc().close(yield* transfer(bench, Direction.load));
        libc().close(yield* transfer(bench, Direction.save));
      },
      { traits: { save: () => LARGE, load } },
    );
  });
});

test('a state of more bytes than may be is refused before it is whole', () => {
  const [own, other] = openChannel();
  using loop = new EventLoop();
  const failures: unknown[] = [];
  const onState = (): void => assert.fail('there is no state');
  readState(loop, other, { most: 10, onState, onEnd: (failure) => failures.push(failure) });
  assert.equal(libc().send(own, libc().addressOf(LARGE), 11, MSG_DONTWAIT), 11);
  loop.run(() => {
    if (failures.length > 0) loop.stop();
    return failures.length > 0 ? 0 : -1;
  });
  assert.match(String(failures[0]), /larger than 10 bytes/);
  libc().close(own);
});

/** Places of a ring of `startRequests`. */
const [RING_BYTES, AVAILABLE] = [0x1000, 0x400];

/** Makes a chain of one buffer available in a ring. */
function offer(ram: DataView, queue: number, { at, length }: { at: number; length: number }): void {
  const ring = queue * RING_BYTES;
  ram.setBigUint64(ring, BigInt(at), true);
  ram.setUint32(ring + 8, length, true);
  ram.setUint16(ring + 12, 2, true);
  const next = ram.getUint16(ring + AVAILABLE + 2, true);
  ram.setUint16(ring + AVAILABLE + 4 + (next % 16) * 2, 0, true);
  ram.setUint16(ring + AVAILABLE + 2, next + 1, true);
}

/** Pops the chain of a queue and adds it to the used ring, as a device does. */
function use(queue: RunningQueue | undefined): void {
  const chain = new Chain();
  assert.equal(queue?.ring.pop(chain), true);
  chain.writable.skip(16);
  queue?.ring.addUsed(chain, 1);
  queue?.ring.publish();
  chain.free();
}

test('the log has the pages of buffers and used rings, while it is on', () => {
  withDescriptors((memory, kick) => {
    const log = memoryFile();
    const bits = mapped(log);
    const ram = mapped(memory);
    const pages = (): number[] => {
      const found = Array.from({ length: RAM / 4096 }, (_, i) => i);
      const marked = found.filter((page) => ((bits.getUint8(page >> 3) >> (page & 7)) & 1) !== 0);
      for (let i = 0; i < 8; i++) bits.setUint8(i, 0);
      return marked;
    };
    withSession(
      function* (bench) {
        const { seen } = bench;
        const step = (request: number, payload: Uint8Array, fds: number[] = []) =>
          start(bench, [[request, payload, fds]]);
        yield* start(bench, startRequests(memory, kick));
        const events = seen.events.length;
        const queues = seen.last?.queues ?? [];
        offer(ram, 0, { at: 0x4ff0, length: 0x1020 });
        use(queues[0]);
        assert.deepEqual(pages(), [], 'the log is off');

        yield* step(Request.SetLogBase, logArea(4096), [log]);
        yield* step(Request.SetFeatures, encodeU64(PROTOCOL_FEATURES | EVENT_INDEX | LOG_ALL));
        offer(ram, 0, { at: 0x4ff0, length: 0x1020 });
        use(queues[0]);
        assert.deepEqual(pages(), [4, 5, 6], 'the used ring is not logged');

        yield* step(Request.SetVringAddr, addresses(1, 0x9600));
        offer(ram, 1, { at: 0xf000, length: 0x1000 });
        use(queues[1]);
        assert.deepEqual(pages(), [9, 15], 'the address for the log is not the one of the ring');

        yield* step(Request.SetVringAddr, addresses(1));
        offer(ram, 1, { at: 0xf000, length: 1 });
        use(queues[1]);
        assert.deepEqual(pages(), [15]);

        yield* step(Request.SetFeatures, encodeU64(PROTOCOL_FEATURES | EVENT_INDEX));
        offer(ram, 1, { at: 0xf000, length: 1 });
        use(queues[1]);
        assert.deepEqual(pages(), []);
        assert.equal(seen.events.length, events, 'the device was neither stopped nor reset');
      },
      { traits: { save, load } },
    );
    closeSync(log);
  });
});

test('a log outside of its file is refused, and the former one stays', () => {
  withDescriptors((memory) => {
    withSession(
      function* ({ send, reply }) {
        for (const [size, offset] of [
          [0, 0],
          [RAM + 1, 0],
          [4096, RAM],
          [2 ** 40, 0],
        ] as const) {
          send(Request.SetLogBase, logArea(size, offset), [memory]);
          yield;
          assert.equal(reply(), 1n);
        }
        send(Request.SetLogBase, logArea(4096));
        yield;
        assert.equal(reply(), 1n, 'without a descriptor');
        send(Request.SetLogFd, new Uint8Array(), [memory]);
        yield;
        assert.equal(reply(), 0n);
      },
      { traits: { save, load } },
    );
  });
});

test('the device runs with the queues that the driver has set up, whichever they are', () => {
  withDescriptors((memory, kick) => {
    const requests = startRequests(memory, kick);
    const [first, second] = [requests.slice(3, 8), requests.slice(8)];
    const seen = withSession(
      function* (bench) {
        const { seen } = bench;
        yield* start(bench, [...requests.slice(0, 3), ...second]);
        assert.deepEqual(
          seen.last?.queues.map((queue) => queue?.ring.size),
          [undefined, 16],
        );
        yield* start(bench, first);
        assert.deepEqual(
          seen.last?.queues.map((queue) => queue?.ring.size),
          [16, 16],
        );
        assert.equal(seen.events.at(-1), 'resumed', 'the driver is the same');
        bench.send(Request.GetVringBase, encodeState(0, 0));
        yield;
        assert.deepEqual(seen.events.slice(-2), ['stopped', 'resumed'], 'the other queue continues');
        assert.equal(seen.last?.queues[0], undefined);
      },
      { traits: { save, load, fewest: 1 } },
    );
    assert.equal(seen.events.filter((event) => event === 'started').length, 1);
  });
});

test('memory that is added or moved while the device runs restarts it for the same driver', () => {
  withDescriptors((memory, kick) => {
    const more: Region = [BigInt(RAM), 4096n, 0x7100_0000_0000n, 0n];
    const region = (one: Region): Uint8Array => {
      const payload = table([one]);
      payload.fill(0, 0, 8);
      return payload;
    };
    const seen = withSession(
      function* (bench) {
        yield* start(bench, startRequests(memory, kick));
        const events = bench.seen.events.length;
        yield* start(bench, [[Request.AddMemReg, region(more), [memory]]]);
        // as QEMU does where a region grows: the rings have no memory in between
        yield* start(bench, [
          [Request.RemMemReg, region(GOOD), []],
          [Request.AddMemReg, region(GOOD), [memory]],
        ]);
        assert.deepEqual(
          bench.seen.events.slice(events).filter((event) => event !== 'stopped'),
          ['resumed', 'resumed'],
        );
      },
      { traits: { save, load } },
    );
    assert.equal(seen.events.filter((event) => event === 'reset').length, 1, 'at its end');
  });
});
