// Connections through the whole device, with random pieces, pauses, sizes of the guest's buffers and credits: each end reads the
// bytes that the other wrote, in order, and neither sends more than its credit.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { array, assert as check, constantFrom, asyncProperty, nat, oneof, record } from 'fast-check';
import { libc } from '../../native/libc.ts';
import { allocate, type Block, putVector } from '../../native/memory.ts';
import { EAGAIN, errno } from '../../native/system-error.ts';
import { HEADER_BYTES, Op, type Header } from './packet.ts';
import { bench, BUFFER_BYTES, LISTENED_PORT, play, receive, send, type Bench } from './test-guest.ts';
import { acceptFrom } from '../../native/unix-socket.ts';

const PORTS = { sourcePort: 1000, targetPort: LISTENED_PORT };
const MOST = 100_000;
const PERIOD = 65_521;
/** one entry of the ring is left for the update of the guest's credit */
const MOST_PACKETS = 15;

/** Bytes that repeat after `PERIOD`: bytes that are lost, doubled or out of order are detected. */
const PATTERN = Buffer.alloc(PERIOD + MOST);
for (let i = 0; i < PATTERN.length; i++) PATTERN[i] = Math.imul(i % PERIOD, 2_654_435_761) >>> 24;

const expected = (at: number, bytes: number): Buffer => PATTERN.subarray(at % PERIOD, (at % PERIOD) + bytes);

/** A program of the host and one of the guest, with the bytes that each has sent and read. */
interface Talk {
  readonly guest: Bench;
  readonly fd: number;
  readonly block: Block;
  readonly toGuest: { written: number; got: number; taken: number; announced: number; window: number };
  readonly toHost: { sent: number; read: number; window: number; forwarded: number };
}

/** The host's program writes as much as its socket takes. */
function hostWrites({ fd, block, toGuest }: Talk, bytes: number): void {
  if (bytes === 0) return;
  Buffer.from(block.view.buffer, block.view.byteOffset + 16, bytes).set(expected(toGuest.written, bytes));
  putVector(block.view, 0, block.address + 16, bytes);
  const count = libc().writev(fd, block.address, 1);
  assert.ok(count >= 0 || errno() === EAGAIN);
  toGuest.written += Math.max(0, count);
}

function hostReads({ fd, block, toHost }: Talk, most: number): void {
  if (most === 0) return;
  const count = Math.max(0, libc().read(fd, block.address, most));
  const bytes = Buffer.from(block.view.buffer, block.view.byteOffset, count);
  assert.ok(bytes.equals(expected(toHost.read, count)), `${count} bytes for the host at ${toHost.read}`);
  toHost.read += count;
}

/** The guest sends packets within the device's credit, at most as many as its ring takes. */
function guestSends({ guest, toHost, toGuest }: Talk, wish: number): void {
  let left = Math.min(wish, toHost.window - (toHost.sent - toHost.forwarded));
  for (let packets = 0; left > 0 && packets < MOST_PACKETS; packets++) {
    const bytes = Math.min(left, BUFFER_BYTES - HEADER_BYTES);
    // every packet announces the guest's credit
    toGuest.announced = toGuest.taken;
    const header = { ...PORTS, op: Op.Data, window: toGuest.window, forwarded: toGuest.taken };
    send(guest, header, expected(toHost.sent, bytes));
    toHost.sent += bytes;
    left -= bytes;
  }
}

function guestGrants({ guest, toGuest }: Talk, wish: number): void {
  toGuest.taken += Math.min(wish, toGuest.got - toGuest.taken);
  toGuest.announced = toGuest.taken;
  send(guest, { ...PORTS, op: Op.CreditUpdate, window: toGuest.window, forwarded: toGuest.taken }, 0);
}

/** Reads the packets for the guest. */
function guestReceives({ guest, toGuest, toHost }: Talk): void {
  const take = (data: Uint8Array): void => {
    assert.ok(expected(toGuest.got, data.length).equals(data), `${data.length} bytes at ${toGuest.got}`);
    toGuest.got += data.length;
  };
  for (const header of receive(guest, take)) learn(toHost, header);
  assert.ok(
    toGuest.got - toGuest.announced <= toGuest.window,
    `${toGuest.got - toGuest.announced} bytes on the way`,
  );
  guest.fromGuest.collect(() => undefined);
}

function learn(toHost: Talk['toHost'], { op, window, forwarded }: Header): void {
  assert.ok(
    [Op.Response, Op.Data, Op.CreditUpdate].some((one) => one === op),
    `op ${op}`,
  );
  toHost.window = window;
  toHost.forwarded = forwarded;
}

const size = oneof(nat(100), nat(5000), nat(MOST));
const step = record({ writes: size, reads: size, sends: size, grants: size });
const windows = oneof(constantFrom(1, 43, 4052, 4096, 65_536, 262_144), nat(300_000));

test('each end of a stream reads the bytes of the other, within its credit', async () => {
  const block = allocate(MOST + 16);
  await check(
    asyncProperty(windows, array(step, { maxLength: 120, size: 'max' }), async (window, steps) => {
      using guest = await bench();
      const script = function* (): Generator<void> {
        send(guest, { ...PORTS, op: Op.Request, window }, 0);
        yield;
        const talk: Talk = {
          ...{ guest, fd: acceptFrom(guest.hostListener), block },
          toGuest: { written: 0, got: 0, taken: 0, announced: 0, window },
          toHost: { sent: 0, read: 0, window: 0, forwarded: 0 },
        };
        guestReceives(talk);
        for (const { writes, reads, sends, grants } of steps) {
          hostWrites(talk, writes);
          guestSends(talk, sends);
          guestGrants(talk, grants);
          yield;
          hostReads(talk, reads);
          guestReceives(talk);
        }
        yield* finish(talk);
        libc().close(talk.fd);
      };
      play(guest, script());
    }),
    { numRuns: 100 },
  );
  block.free();
});

/** Both readers read until all bytes have arrived. With a window of one byte there are as many rounds as bytes. */
function* finish(talk: Talk): Generator<void> {
  const { toGuest, toHost } = talk;
  if (toGuest.window < 4096) toGuest.window = 4096;
  const isDone = (): boolean => toGuest.got === toGuest.written && toHost.read === toHost.sent;
  for (let turns = 0; !isDone() && turns < 5000; turns++) {
    guestGrants(talk, MOST);
    yield;
    hostReads(talk, MOST);
    guestReceives(talk);
  }
  assert.deepEqual([toGuest.got, toHost.read], [toGuest.written, toHost.sent]);
}
