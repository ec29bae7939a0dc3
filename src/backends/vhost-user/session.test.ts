// Messages of a front-end: in valid and invalid order, with invalid tables, and over a second connection.
import assert from 'node:assert/strict';
import { writeSync } from 'node:fs';
import { test } from 'node:test';
import { encodeState, encodeU64, Request } from './message.ts';
import {
  addresses,
  GOOD,
  RAM,
  start,
  startRequests,
  table,
  USER,
  VERSION,
  withDescriptors,
  withSession,
} from './test-front-end.ts';

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

test('a start that fails for a new driver does not keep the state of the former one', () => {
  withDescriptors((memory, kick) => {
    const requests = startRequests(memory, kick);
    const seen = withSession(function* (bench) {
      yield* start(bench, requests);
      for (const index of [0, 1]) {
        bench.send(Request.GetVringBase, encodeState(index, 0));
        yield;
        bench.reply();
      }
      bench.seen.events.length = 0;
      const [first, second] = requests.filter(([request]) => request === Request.SetVringKick);
      assert.ok(first !== undefined && second !== undefined);
      yield* start(bench, [
        // the new driver has used entries of the first ring, and its second one is outside of memory
        [Request.SetVringBase, encodeState(0, 5), []],
        [Request.SetVringAddr, outside(1), []],
        first,
        second,
      ]);
      assert.equal(bench.seen.events.includes('started'), false);
      yield* start(bench, [[Request.SetVringAddr, addresses(1), []]]);
    });
    assert.equal(seen.events.includes('started'), true);
    assert.equal(seen.events.includes('resumed'), false);
  });
});

/** Addresses of a ring behind the end of guest memory. */
function outside(index: number): Uint8Array {
  const bytes = addresses(64);
  new DataView(bytes.buffer).setUint32(0, index, true);
  return bytes;
}

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
    const seen = withSession(
      function* (bench) {
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
      },
      { continuesRings: true },
    );
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
