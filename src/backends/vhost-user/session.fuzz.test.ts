// Hostile front-ends: any requests in any order, with any descriptors, end the connection at worst, and leave no descriptor open.
import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { test } from 'node:test';
import { array, assert as check, constantFrom, nat, oneof, property, record, uint8Array } from 'fast-check';
import { encodeState, encodeU64, Request } from './message.ts';
import {
  addresses,
  GOOD,
  logArea,
  openReadOnly,
  RAM,
  start,
  startRequests,
  table,
  withDescriptors,
  withSession,
} from './test-front-end.ts';

const region = (): Uint8Array => {
  const payload = table([GOOD]);
  payload.fill(0, 0, 8);
  return payload;
};

/** Valid payloads of all kinds, and noise. */
const payload = oneof(
  constantFrom(
    encodeState(0, 0),
    encodeState(1, 1),
    encodeU64(1n << 30n),
    encodeU64((1n << 30n) | (1n << 26n)),
    encodeU64(0x100n),
    addresses(0),
    addresses(1, 0xf600),
    logArea(4096),
    logArea(RAM * 2),
    table([GOOD]),
    region(),
  ),
  uint8Array({ maxLength: 48 }),
);

const message = record({
  request: oneof(
    { weight: 9, arbitrary: constantFrom(...Object.values(Request)) },
    { weight: 1, arbitrary: nat(60) },
  ),
  payload,
  fds: array(constantFrom('memory' as const, 'memory' as const, 'kick' as const, 'snapshot' as const), {
    maxLength: 2,
  }),
});

test('300 front-ends that send anything break no device, and no descriptor stays open', () => {
  withDescriptors((memory, kick) => {
    let starts = 0;
    // memory at an address that this process has not
    const snapshot = openReadOnly(memory);
    const fdOf = { memory, kick, snapshot };
    check(
      property(array(message, { maxLength: 40 }), nat(1), (messages, begin) => {
        const seen = withSession(
          function* (bench) {
            if (begin === 1) yield* start(bench, startRequests(memory, kick));
            for (const { request, payload, fds } of messages) {
              if (bench.seen.isOver) return;
              bench.send(
                request,
                payload,
                fds.map((kind) => fdOf[kind]),
              );
              yield;
              bench.reply();
            }
          },
          { traits: { fewest: 1, save: () => new Uint8Array(2 ** 20), load: () => undefined } },
        );
        starts += seen.events.filter((event) => event !== 'stopped').length;
        assert.equal(seen.events.at(-1), 'reset', 'the end of the session resets the device');
      }),
      { numRuns: 300 },
    );
    closeSync(snapshot);
    assert.ok(starts > 300, `only ${starts} starts`);
  });
});
