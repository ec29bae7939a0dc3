// A front-end for tests of a session: its messages over a real connection, with real memory and descriptors.
import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventLoop } from '../event-loop.ts';
import { openEventfd } from '../../native/epoll.ts';
import { createSend } from '../../native/descriptor-passing.ts';
import { libc } from '../../native/libc.ts';
import { allocate, mapShared, viewOf } from '../../native/memory.ts';
import { MSG_DONTWAIT, openSocketPair, passCredentials } from '../../native/unix-socket.ts';
import type { Device, Start } from './device.ts';
import { encodeState, encodeU64, Request } from './message.ts';
import { Session } from './session.ts';

const send = await createSend();

export const RAM = 64 * 1024;
export const USER = 0x7000_0000_0000n;
const NEED_REPLY = 9;
export const VERSION = 1;
export const PROTOCOL_FEATURES = 1n << 30n;
export const EVENT_INDEX = 1n << 29n;

/** Calls of the device's functions, in order. */
export interface Seen {
  readonly events: string[];
  last?: Start;
  isOver: boolean;
}

export interface Bench {
  readonly seen: Seen;
  /** Sends a request; `more` is sent over its payload's end, `fds` with it. */
  readonly send: (request: number, payload?: Uint8Array, fds?: readonly number[]) => void;
  /** The reply's payload as a number; undefined where there is none. */
  readonly reply: () => bigint | undefined;
  readonly raw: (bytes: Uint8Array) => void;
  readonly session: Session;
}

interface Setting {
  readonly continuesRings?: boolean;
  /** members of the device that differ */
  readonly traits?: Partial<Device>;
}

/** Runs the front-end's steps; at each `yield` the session handles the sent messages. */
export function withSession(
  steps: (bench: Bench) => Iterator<void>,
  { continuesRings = false, traits }: Setting = {},
): Seen {
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
    ...traits,
  };
  const quiet = (): void => undefined;
  const log = { error: quiet, warn: quiet, info: quiet, debug: quiet, trace: quiet };
  const [ours, theirs] = openSocketPair();
  passCredentials(ours);
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

export function memoryFile(): number {
  const folder = mkdtempSync(join(tmpdir(), 'session-'));
  const fd = openSync(join(folder, 'ram'), 'w+');
  ftruncateSync(fd, RAM);
  rmSync(folder, { recursive: true });
  return fd;
}

export type Region = readonly [guest: bigint, size: bigint, user: bigint, offset: bigint];

export function table(regions: readonly Region[], count: number = regions.length): Uint8Array {
  const bytes = new Uint8Array(8 + regions.length * 32);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, count, true);
  for (const [i, region] of regions.entries())
    for (const [j, value] of region.entries()) view.setBigUint64(8 + i * 32 + j * 8, value, true);
  return bytes;
}

/** Payload of SET_VRING_ADDR; with `log` writes to the used ring are logged at that guest address. */
export function addresses(index: number, log?: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(40));
  view.setUint32(0, index, true);
  view.setUint32(4, log === undefined ? 0 : 1, true);
  view.setBigUint64(32, BigInt(log ?? 0), true);
  const at = USER + BigInt(index * 0x1000);
  for (const [i, value] of [at, at + 0x600n, at + 0x400n].entries())
    view.setBigUint64(8 + i * 8, value, true);
  return new Uint8Array(view.buffer);
}

/** Payload of SET_LOG_BASE. */
export function logArea(size: number, offset = 0): Uint8Array {
  return new Uint8Array(new BigUint64Array([BigInt(size), BigInt(offset)]).buffer);
}

/** Opens a file of `memoryFile` as QEMU opens a snapshot: read-only. */
export function openReadOnly(file: number): number {
  return openSync(`/proc/self/fd/${file}`, 'r');
}

/** Maps a file of `memoryFile`, for the rest of the test. */
export function mapped(file: number): DataView {
  return viewOf(mapShared(file, RAM), RAM);
}

export const GOOD: Region = [0n, BigInt(RAM), USER, 0n];

/** The requests by which QEMU starts two rings, in its order; each with its descriptor. */
export function startRequests(memory: number, kick: number): [number, Uint8Array, number[]][] {
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

export function* start(
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
export function openFiles(memory: number): string[] {
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

export function withDescriptors(use: (memory: number, kick: number) => void): void {
  const [memory, kick] = [memoryFile(), openEventfd()];
  const before = openFiles(memory);
  use(memory, kick);
  assert.deepEqual(openFiles(memory), before, 'descriptors were left open');
  closeSync(memory);
  libc().close(kick);
}
