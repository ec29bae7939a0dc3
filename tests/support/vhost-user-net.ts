// A vhost-user-net back-end of the tests, a process of its own: behind it is one host that answers ARP and ICMP echoes
// for its address. node vhost-user-net.js listen|serve|connect <socket> <address> <queues>: `listen` serves one connection, `serve`
// one after the other. It prints the properties of its rings.
import { setTimeout as delay } from 'node:timers/promises';
import { EventLoop } from '../../src/backends/event-loop.ts';
import { libc, loadLibc } from '../../src/native/libc.ts';
import { allocate } from '../../src/native/memory.ts';
import { Chain } from '../../src/backends/vhost-user/descriptor-chain.ts';
import type { Device, RunningQueue, Start } from '../../src/backends/vhost-user/device.ts';
import { Session } from '../../src/backends/vhost-user/session.ts';
import { acceptFrom, connectTo } from '../../src/native/unix-socket.ts';
import { listenAtPath } from '../../src/native/listening-socket.ts';
import { createLog } from '../../src/util/log.ts';
import { answerTo } from './ping-responder.ts';

/** struct virtio_net_hdr_v1; its last two bytes are the number of buffers of a frame. */
const HEADER_BYTES = 12;
const MAX_FRAME_BYTES = 2048;
/** VIRTIO_NET_F_MQ, and the control queue that goes with it */
const MULTI_QUEUE = (1n << 22n) | (1n << 17n);

/** Queues with an even index lead to the guest; the answer to a frame takes the other queue of its pair. */
class NetDevice implements Device {
  readonly features = MULTI_QUEUE;
  /** a guest need not use all pairs */
  readonly fewest = 2;
  readonly queues: number;
  readonly #address: string;
  readonly #chain = new Chain();
  readonly #block = allocate(HEADER_BYTES + MAX_FRAME_BYTES);
  #running: readonly RunningQueue[] = [];

  constructor(address: string, queues: number) {
    this.#address = address;
    this.queues = queues;
  }

  config(): Uint8Array {
    return new Uint8Array(0);
  }

  start(start: Start): void {
    const queues = start.queues.filter((queue) => queue !== undefined);
    console.log(`rings ${queues.map(({ ring }) => ring.size).join(' ')}`);
    this.#running = queues;
  }

  stop(): void {
    this.#running = [];
  }

  kicked(): void {
    // `settle` handles all rings
  }

  reset(): void {
    this.stop();
  }

  settle(): number {
    let more = false;
    for (let i = 0; i + 1 < this.#running.length; i += 2) {
      const [toGuest, fromGuest] = this.#running.slice(i);
      if (toGuest !== undefined && fromGuest !== undefined) this.#serve(toGuest, fromGuest);
      more ||= fromGuest?.ring.enableNotifications() ?? false;
    }
    return more ? 0 : -1;
  }

  #serve(toGuest: RunningQueue, fromGuest: RunningQueue): void {
    while (fromGuest.ring.pop(this.#chain)) {
      const answer = answerTo(this.#frame(), this.#address);
      fromGuest.ring.addUsed(this.#chain, 0);
      if (answer !== undefined) this.#send(toGuest, answer);
    }
    for (const { ring, notify } of [fromGuest, toGuest]) if (ring.publish()) notify();
  }

  #frame(): Buffer {
    const { readable } = this.#chain;
    const length = Math.min(readable.bytes, HEADER_BYTES + MAX_FRAME_BYTES);
    readable.copyOut(this.#block.address, length);
    const { buffer, byteOffset } = this.#block.view;
    return Buffer.from(Buffer.from(buffer, byteOffset + HEADER_BYTES, Math.max(0, length - HEADER_BYTES)));
  }

  #send({ ring }: RunningQueue, frame: Buffer): void {
    if (!ring.pop(this.#chain)) return;
    for (let i = 0; i < HEADER_BYTES; i++) this.#block.view.setUint8(i, 0);
    this.#block.view.setUint16(HEADER_BYTES - 2, 1, true);
    for (const [i, byte] of frame.entries()) this.#block.view.setUint8(HEADER_BYTES + i, byte);
    const length = HEADER_BYTES + frame.length;
    this.#chain.writable.copyIn(this.#block.address, length);
    ring.addUsed(this.#chain, length);
  }
}

/** Waits for a connection of a front-end. */
async function connection(next: () => number): Promise<number> {
  for (;;) {
    const fd = next();
    if (fd >= 0) return fd;
    await delay(20);
  }
}

function serve(fd: number, address: string, queues: number): void {
  using loop = new EventLoop();
  const device = new NetDevice(address, queues);
  const end = (): void => loop.stop();
  using _session = new Session({ fd, loop, device, log: createLog('net'), onEnd: end });
  loop.run(() => device.settle());
}

const [how = '', path = '', address = '', queues = ''] = process.argv.slice(2);
await loadLibc();
const listener = how === 'connect' ? undefined : await listenAtPath(path);
for (;;) {
  const fd = await connection(() => (listener === undefined ? connectTo(path) : acceptFrom(listener.fd)));
  if (how === 'listen') {
    listener?.removeFile();
    if (listener !== undefined) libc().close(listener.fd);
  }
  serve(fd, address, Number(queues));
  if (how !== 'serve') break;
}
