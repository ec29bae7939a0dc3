import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  array,
  assert as check,
  constantFrom,
  integer,
  nat,
  oneof,
  property,
  record,
  tuple,
} from 'fast-check';
import { Credit } from './credit.ts';

const count = oneof(
  nat(70_000),
  constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1),
  integer({ min: 0, max: 2 ** 32 - 1 }),
);

/** Credit after so many bytes in each direction, all of them read. */
function after(window: number, bytes: number): Credit {
  const credit = new Credit(window);
  credit.send(bytes);
  credit.receive(bytes);
  credit.forward(bytes);
  return credit;
}

test('a sender within its credit never has more in flight than the guest’s buffer holds', () => {
  const step = record({
    window: nat(300_000),
    taken: nat(100_000),
    wish: nat(400_000),
    announces: constantFrom(true, false),
  });
  check(
    property(count, array(step, { maxLength: 60, size: 'max' }), (start, steps) => {
      const credit = after(1024, start);
      let [sent, taken, announcedTaken, announcedWindow] = [0, 0, 0, 0];
      for (const { window, taken: wanted, wish, announces } of steps) {
        taken += Math.min(wanted, sent - taken);
        if (announces) {
          [announcedTaken, announcedWindow] = [taken, window];
          credit.update(window, (start + taken) >>> 0);
        }
        const sendable = credit.sendable;
        assert.equal(
          sendable,
          Math.max(0, announcedWindow - (sent - announcedTaken)),
          'no less than allowed',
        );
        const bytes = Math.min(wish, sendable);
        credit.send(bytes);
        sent += bytes;
        assert.ok(bytes === 0 || sent - taken <= announcedWindow, 'no more than the guest has space for');
      }
    }),
  );
});

test('for any announcement of a guest, the credit is between 0 and its buffer size', () => {
  check(
    property(count, array(tuple(count, count, count), { maxLength: 60, size: 'max' }), (start, claims) => {
      const credit = after(1024, start);
      for (const [window, forwarded, wish] of claims) {
        credit.update(window, forwarded);
        const { sendable } = credit;
        assert.ok(
          Number.isInteger(sendable) && sendable >= 0 && sendable <= window,
          `${sendable} of ${window}`,
        );
        credit.send(Math.min(wish, sendable));
      }
    }),
  );
});

test('data of the guest is accepted exactly up to the buffer size, also where counters wrap', () => {
  const window = 65_536;
  const step = record({ bytes: nat(40_000), leaves: nat(60_000) });
  check(
    property(count, array(step, { maxLength: 50, size: 'max' }), (start, steps) => {
      const credit = after(window, start);
      let held = 0;
      for (const { bytes, leaves } of steps) {
        held += bytes;
        assert.equal(credit.receive(bytes), held <= window);
        if (held > window) return;
        const left = Math.min(held, leaves);
        credit.forward(left);
        held -= left;
      }
    }),
  );
});

test('the guest gets a credit update before it has to wait, and not for every byte', () => {
  check(
    property(count, array(nat(10_000), { minLength: 1, maxLength: 60, size: 'max' }), (start, parts) => {
      const window = 65_536;
      const credit = after(window, start);
      credit.announce();
      let silent = 0;
      for (const bytes of parts) {
        credit.receive(bytes);
        credit.forward(bytes);
        silent += bytes;
        assert.equal(credit.isStale, silent >= window / 4);
        if (!credit.isStale) continue;
        credit.announce();
        silent = 0;
      }
    }),
  );
});
