// Hostile packets: for any header of the guest's packets the device answers with valid packets, sends no more than its credit,
// and continues to serve its other connections. Real rings in shared memory, real sockets.
import assert from 'node:assert/strict';
import { writeSync } from 'node:fs';
import { test } from 'node:test';
import { array, assert as check, constantFrom, asyncProperty, nat, oneof, record } from 'fast-check';
import { libc } from '../../native/libc.ts';
import { HEADER_BYTES, Op, type Header } from './packet.ts';
import { bench, BUFFER_BYTES, CID, LISTENED_PORT, play, receive, send } from './test-guest.ts';
import { acceptFrom, connectTo } from '../../native/unix-socket.ts';

const GUEST_PORT = 1000;

const KNOWN_OPS: readonly number[] = Object.values(Op);
const edge = constantFrom(0, 1, 2, 4096, 65_536, 2 ** 31, 2 ** 32 - 1);

/** One packet, mostly for connections that exist. */
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

test('hostile packets get valid replies, and another stream can still be opened', async () => {
  await check(
    asyncProperty(array(packet, { minLength: 1, maxLength: 40 }), async (packets) => {
      using guest = await bench();
      const own = connectTo(guest.path);
      writeSync(own, 'CONNECT 5\nsome data that may exceed the credit');
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
      libc().close(own);
    }),
    { numRuns: 150 },
  );
});

function checkAnswer({ sourceCid, targetCid, type, op }: Header): void {
  assert.deepEqual([sourceCid, targetCid, type], [2, CID, 1]);
  assert.ok(KNOWN_OPS.includes(op), `op ${op}`);
}

test('a guest gets no more data than its announced credit', async () => {
  const claim = record({ window: edge, forwarded: edge });
  await check(
    asyncProperty(array(claim, { maxLength: 12 }), async (claims) => {
      using guest = await bench();
      const ports = { sourcePort: GUEST_PORT, targetPort: LISTENED_PORT };
      const steps = function* (): Generator<void> {
        send(guest, { ...ports, op: Op.Request, window: 10 }, 0);
        yield;
        const program = acceptFrom(guest.hostListener);
        writeSync(program, Buffer.alloc(100_000));
        let sent = 0;
        let credit = 10;
        for (const { window, forwarded } of [{ window: 10, forwarded: 0 }, ...claims]) {
          send(guest, { ...ports, op: Op.CreditUpdate, window, forwarded }, 0);
          const before = sent;
          credit = Math.max(0, window - ((sent - forwarded) >>> 0));
          yield;
          yield;
          for (const { op, length } of receive(guest)) sent += op === Op.Data ? length : 0;
          guest.fromGuest.collect(() => undefined);
          assert.ok(sent - before <= credit, `${sent - before} bytes for a credit of ${credit}`);
        }
        libc().close(program);
      };
      play(guest, steps());
    }),
    { numRuns: 100 },
  );
});

test('data beyond the credit ends the stream with a reset', async () => {
  using guest = await bench();
  const ports = { sourcePort: GUEST_PORT, targetPort: LISTENED_PORT };
  const steps = function* (): Generator<void> {
    send(guest, { ...ports, op: Op.Request, window: 65_536 }, 0);
    yield;
    const [response] = receive(guest);
    assert.equal(response?.op, Op.Response);
    const bytes = BUFFER_BYTES - HEADER_BYTES;
    // the program of the host does not read: the socket buffers some of the data, the device the rest of the window
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
