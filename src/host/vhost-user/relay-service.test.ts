import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { loadLibc } from '../../native/libc.ts';
import { openSocketPair } from '../../native/unix-socket.ts';
import type { BackEndConnections } from './back-end-connections.ts';
import { loadChannelCalls, openChannel, type Channel } from './channel.ts';
import { Request } from './message.ts';
import { startRelay } from './relay-service.ts';

const GET_QUEUE_NUM = 17;
const ANSWER_MS = 100;

/** Back-ends of the test, in the order of their connections. */
async function fakeBackEnds(count: number) {
  await loadLibc();
  const calls = await loadChannelCalls();
  const pairs = Array.from({ length: count }, () => openSocketPair());
  const own = pairs.map(([fd]) => openChannel(fd, calls));
  const rest = pairs.map(([, fd]) => fd);
  const backEnds: BackEndConnections = {
    next: async (signal) => {
      const fd = rest.shift();
      if (fd === undefined) await delay(60_000, undefined, { signal }).catch(() => undefined);
      return fd;
    },
    [Symbol.dispose]: () => undefined,
  };
  const close = (): void => {
    for (const channel of own) channel[Symbol.dispose]();
    calls.readiness.close();
  };
  return { own, backEnds, close };
}

async function answerFeatures(backEnd: Channel | undefined): Promise<void> {
  const asked = await backEnd?.receive();
  assert.equal(asked?.request, Request.GetFeatures);
  await backEnd?.send({ request: Request.GetFeatures, flags: 5, payload: Buffer.alloc(8), fds: [] });
}

test('QEMU connects to each back-end that answers; no file is left', async () => {
  const { own, backEnds, close } = await fakeBackEnds(3);
  const [silent, answering, later] = own;
  const options = { name: 'net a', backEnds, first: undefined, owner: undefined, answerMs: ANSWER_MS };
  const { frontEnd, stop } = await startRelay(options);
  const qemu = createServer().listen(frontEnd);
  try {
    const connected = once(qemu, 'connection');
    // the relay closes the connection, and QEMU receives nothing
    assert.equal((await silent?.receive())?.request, Request.GetFeatures);
    assert.equal(await silent?.receive(), undefined);
    await answerFeatures(answering);
    const [connection] = (await connected) as [Socket];
    assert.ok(!existsSync(dirname(frontEnd)));
    connection.write(Buffer.from([GET_QUEUE_NUM, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]));
    assert.equal((await answering?.receive())?.request, GET_QUEUE_NUM);

    const again = once(qemu, 'connection');
    const closed = once(connection.resume(), 'close');
    answering?.[Symbol.dispose]();
    await closed;
    await answerFeatures(later);
    const [second] = (await again) as [Socket];
    const ended = once(second.resume(), 'close');
    await stop();
    await ended;
    assert.equal(await later?.receive(), undefined);
  } finally {
    await stop();
    qemu.close();
    close();
  }
});

test('a device that is not attached again has one connection, to the first back-end', async () => {
  const { own, backEnds, close } = await fakeBackEnds(3);
  const [silent, answering, later] = own;
  const options = { name: 'fs a', backEnds, first: undefined, owner: undefined, answerMs: ANSWER_MS };
  const { frontEnd, stop } = await startRelay({ ...options, once: true });
  const qemu = createServer().listen(frontEnd);
  try {
    const connected = once(qemu, 'connection');
    assert.equal((await silent?.receive())?.request, Request.GetFeatures);
    await answerFeatures(answering);
    const [connection] = (await connected) as [Socket];
    const closed = once(connection.resume(), 'close');
    answering?.[Symbol.dispose]();
    await closed;
    // the time within which a next back-end would get its first request
    const isAsked = await Promise.race([later?.receive(), delay(500, 'not asked')]);
    assert.equal(isAsked, 'not asked');
  } finally {
    await stop();
    qemu.close();
    close();
  }
});

test('without QEMU no back-end is connected to and nothing is left', async () => {
  const { own, backEnds, close } = await fakeBackEnds(1);
  const { frontEnd, stop } = await startRelay({
    name: 'net b',
    backEnds,
    first: undefined,
    owner: undefined,
  });
  assert.ok(existsSync(dirname(frontEnd)));
  await delay(50);
  await stop();
  assert.ok(!existsSync(dirname(frontEnd)));
  const isAsked = await Promise.race([own[0]?.receive(), delay(50, 'not asked')]);
  assert.equal(isAsked, 'not asked');
  close();
});
