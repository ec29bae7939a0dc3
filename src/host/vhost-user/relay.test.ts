import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync, readdirSync, readlinkSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { openSocketPair } from '../../native/unix-socket.ts';
import { loadChannelCalls, openChannel, type Channel, type ChannelCalls } from './channel.ts';
import { HEADER_BYTES, MAX_DESCRIPTORS, MAX_PAYLOAD_BYTES, type Message } from './message.ts';
import { relayMessages } from './relay.ts';

const SET_VRING_KICK = 12;
const GET_CONFIG = 24;
const plain = { flags: 1, payload: Buffer.alloc(8), fds: [] };

interface Ends {
  /** the channels of QEMU and the back-end */
  readonly qemu: Channel;
  readonly backEnd: Channel;
  /** the descriptors of the same connections, for bytes that are no messages */
  readonly qemuFd: number;
  readonly backEndFd: number;
  readonly calls: ChannelCalls;
  readonly relayed: Promise<void>;
}

/** A relay with both of its peers. */
async function withRelay(act: (ends: Ends) => Promise<void>): Promise<void> {
  const calls = await loadChannelCalls();
  const [qemuFd, front] = openSocketPair();
  const [backEndFd, back] = openSocketPair();
  using qemu = openChannel(qemuFd, calls);
  using backEnd = openChannel(backEndFd, calls);
  const relayed = relayMessages(openChannel(front, calls), openChannel(back, calls));
  relayed.catch(() => undefined);
  try {
    await act({ qemu, backEnd, qemuFd, backEndFd, calls, relayed });
  } finally {
    qemu[Symbol.dispose]();
    backEnd[Symbol.dispose]();
    await relayed.catch(() => undefined);
    calls.readiness.close();
  }
}

function isOpen(path: string): boolean {
  return readdirSync('/proc/self/fd').some((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      // the descriptor of the listing itself is closed
      return false;
    }
  });
}

test('messages arrive whole and in order, with their descriptors, in both directions', async () => {
  await withRelay(async ({ qemu, backEnd }) => {
    // only this test has these devices open
    const [one, two] = [openSync('/dev/full', 'r'), openSync('/dev/zero', 'r')];
    const identities = [one, two].map((fd) => fstatSync(fd).rdev);
    const payload = Buffer.alloc(MAX_PAYLOAD_BYTES, 7);
    // all at once: a read may return parts of several messages
    await Promise.all([
      qemu.send({ ...plain, request: 3, payload: Buffer.alloc(0) }),
      qemu.send({ ...plain, request: SET_VRING_KICK, fds: [one, two] }),
      qemu.send({ ...plain, request: GET_CONFIG, payload }),
    ]);
    assert.deepEqual(await backEnd.receive(), { ...plain, request: 3, payload: Buffer.alloc(0) });
    const kick = await backEnd.receive();
    assert.equal(kick?.request, SET_VRING_KICK);
    assert.deepEqual(
      kick.fds.map((fd) => fstatSync(fd).rdev),
      identities,
    );
    for (const fd of kick.fds) closeSync(fd);
    assert.deepEqual(await backEnd.receive(), { ...plain, request: GET_CONFIG, payload });
    const reply = { ...plain, request: GET_CONFIG, flags: 5, payload };
    await backEnd.send({ ...reply, fds: [openSync('/dev/full', 'r')] });
    const got = await qemu.receive();
    assert.deepEqual({ ...got, fds: [] }, reply);
    assert.deepEqual(
      got?.fds.map((fd) => fstatSync(fd).rdev),
      [identities[0]],
    );
    for (const fd of got?.fds ?? []) closeSync(fd);
    assert.ok(!isOpen('/dev/full') && !isOpen('/dev/zero'), 'the relay keeps no copies');
  });
});

test('when one connection closes, the other is closed', async () => {
  await withRelay(async ({ qemu, backEnd, relayed }) => {
    backEnd[Symbol.dispose]();
    assert.equal(await qemu.receive(), undefined);
    await relayed;
  });
  await withRelay(async ({ qemu, backEnd, relayed }) => {
    await qemu.send({ ...plain, request: SET_VRING_KICK, fds: [openSync('/dev/null', 'r')] });
    qemu[Symbol.dispose]();
    const last = await backEnd.receive();
    for (const fd of last?.fds ?? []) closeSync(fd);
    assert.equal(last?.fds.length, 1, 'what was sent before arrives');
    assert.equal(await backEnd.receive(), undefined);
    await relayed;
  });
});

test('a connection that is reset has ended', async () => {
  await withRelay(async ({ qemu, backEnd, relayed }) => {
    // a socket that is closed with unread bytes resets its peer
    await qemu.send({ ...plain, request: 3 });
    await nextTurn();
    backEnd[Symbol.dispose]();
    await relayed;
    assert.equal(await qemu.receive(), undefined);
  });
});

test('a message that is too long ends the connections', async () => {
  await withRelay(async ({ qemu, backEndFd, relayed }) => {
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32LE(MAX_PAYLOAD_BYTES + 1, 8);
    writeSync(backEndFd, header);
    await assert.rejects(relayed, /a message of 4097 bytes, 4096 at most/);
    assert.equal(await qemu.receive(), undefined);
  });
});

test('a message cannot gather descriptors without an end: the connections end, and none is kept', async () => {
  await withRelay(async ({ backEndFd, calls, relayed }) => {
    // only this test has this device open
    const copied = openSync('/dev/full', 'r');
    // a message whose bytes are sent one by one can carry descriptors with each
    for (let sent = 0; sent <= MAX_DESCRIPTORS; sent += 11) {
      assert.equal(calls.send(backEndFd, Buffer.alloc(1), Array<number>(11).fill(copied)), 1);
    }
    closeSync(copied);
    await assert.rejects(relayed, /a message of 33 file descriptors, 32 at most/);
    assert.ok(!isOpen('/dev/full'));
  });
});

test('a back-end that sends endlessly fills its own connection only', async () => {
  await withRelay(async ({ qemu, backEnd, relayed }) => {
    const message: Message = { ...plain, request: GET_CONFIG, flags: 5, payload: Buffer.alloc(0) };
    let sent = 0;
    const flood = (async () => {
      while (await backEnd.send(message)) sent++;
    })();
    // QEMU reads nothing: the sockets between them get full
    let before: number;
    do {
      before = sent;
      for (let i = 0; i < 20; i++) await nextTurn();
    } while (sent > before);
    assert.ok(sent > 0);
    await qemu.send({ ...plain, request: 3 });
    assert.equal((await backEnd.receive())?.request, 3, 'the other direction goes on');
    qemu[Symbol.dispose]();
    await relayed;
    backEnd[Symbol.dispose]();
    await flood;
  });
});
