import type { Log } from '../../util/log.ts';
import type { EventLoop } from '../event-loop.ts';
import { allocate, type Block } from '../../native/memory.ts';
import type { Parts } from '../vhost-user/descriptor-chain.ts';
import { QueueError } from '../vhost-user/queue-error.ts';
import type { Device, Start } from '../vhost-user/device.ts';
import type { GuestMemory } from '../vhost-user/guest-memory.ts';
import { TransmitQueue } from './transmit-queue.ts';
import { ConnectionSetup } from './connection-setup.ts';
import type { HandoverState } from './thread-messages.ts';
import { emptyHeader, HOST_CID, Op, TYPE_STREAM, type Header } from './packet.ts';
import { Resets } from './resets.ts';
import { Connections } from './connections.ts';
import { ReceiveQueue } from './receive-queue.ts';

/** Data after which the guest's pages are released, in `bytes`: touched pages count as memory of this process. */
const RELEASE_BYTES = 32 * 2 ** 20;

interface Options {
  readonly cid: number;
  /** path of the UNIX socket; the guest's connections to port N go to `<path>_N` */
  readonly path: string;
  /** listening socket at the path */
  readonly listener: number;
  readonly loop: EventLoop;
  readonly log: Log;
}

/*
 * The vsock device in a thread of its own: `service.ts` starts the thread (`worker.ts`) and exchanges messages with it (`thread-messages.ts`).
 * The device moves packets (`packet.ts`) between its two virtqueues (`transmit-queue.ts` from the guest, `receive-queue.ts` to the
 * guest) and the UNIX sockets of `connections.ts`; `connection-setup.ts` accepts and opens those.
 *
 * States of a connection: requested (the peer has not responded) -> established -> shut down in one or both directions ->
 * closed. Invariants: the guest is not trusted; its packets are checked against the state and the credit, and a wrong one is
 * answered with a reset. The number of connections and the memory of all buffers are limited. Moving data allocates no JavaScript
 * objects.
 */

/** The virtio socket device (virtio 1.1, section 5.10) on UNIX sockets of the host. */
export class VsockDevice implements Device {
  readonly features = 0n;
  /** receive and transmit; the event queue stays with QEMU */
  readonly queues = 2;
  readonly #cid: number;
  readonly #log: Log;
  readonly #transmit = new TransmitQueue();
  readonly #receive = new ReceiveQueue(() => this.#transmit.publishData());
  readonly #vectors: Block = allocate(32);
  readonly #resets: Resets;
  readonly #connections: Connections;
  readonly #host: ConnectionSetup;
  readonly #header = emptyHeader();
  #memory: GuestMemory | undefined;
  #moved = 0;

  constructor({ cid, path, listener, loop, log }: Options) {
    this.#cid = cid;
    this.#log = log;
    this.#resets = new Resets(cid);
    this.#connections = new Connections({ cid, loop, resets: this.#resets, vectors: this.#vectors });
    this.#host = new ConnectionSetup({
      path,
      listener,
      loop,
      streams: this.#connections,
      resets: this.#resets,
    });
  }

  config(): Uint8Array {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt(this.#cid), true);
    return new Uint8Array(view.buffer);
  }

  start({ queues, memory, resumed }: Start): void {
    if (!resumed) this.reset();
    this.#memory = memory;
    [this.#receive.queue, this.#transmit.queue] = queues;
    this.#connections.wakeAll();
    this.#host.open();
  }

  stop(): void {
    this.#memory = undefined;
    this.#receive.queue = undefined;
    this.#transmit.queue = undefined;
    this.#host.pause();
  }

  kicked(queue: number): void {
    if (queue === 1) this.#transmit.kick();
  }

  reset(): void {
    this.#connections.dropAll();
    this.#host.reset();
    this.#resets.clear();
  }

  /** State for another device that takes over the guest of this one. */
  get handoverState(): HandoverState {
    return this.#connections.handoverState;
  }

  /** Takes over the guest of another device, whose connections are closed. */
  follow(previous: HandoverState): void {
    for (const { guestPort, hostPort } of previous.streams) this.#resets.add(guestPort, hostPort);
    this.#connections.follow(previous);
  }

  /**
   * Handles all that has happened since the last call.
   * @returns after how many `ms` it must be called again where no event occurs: 0 at once, -1 never
   */
  settle(): number {
    try {
      return this.#settle();
    } catch (error) {
      if (!(error instanceof QueueError)) throw error;
      this.#log.warn(`${error.fault}, its sockets are closed: ${error.message}`);
      this.stop();
      this.reset();
      return -1;
    }
  }

  [Symbol.dispose](): void {
    this.stop();
    this.reset();
    this.#host[Symbol.dispose]();
    this.#receive.free();
    this.#transmit.free();
    this.#vectors.free();
  }

  #settle(): number {
    const now = performance.now();
    this.#connections.expire(now);
    this.#host.retry(now);
    this.#transmit.publishLate(now);
    const mayAccept = this.#host.accept();
    const more = this.#memory === undefined ? this.#connections.flush() : this.#exchange();
    if (mayAccept || more) return 0;
    const waits = [
      this.#connections.nextDeadline(now),
      this.#host.nextRetry(now),
      this.#transmit.nextPublish(now),
    ].filter((one) => one !== undefined);
    return waits.length === 0 ? -1 : Math.min(...waits);
  }

  /** Moves packets in both directions. @returns true where more remain than one call allows */
  #exchange(): boolean {
    const more = this.#transmit.take(
      () => !this.#resets.isFull,
      (header, data) => this.#packet(header, data),
    );
    const again = this.#resets.send(this.#receive)
      ? this.#connections.serve(this.#receive, this.#header)
      : this.#receive.enableNotifications();
    this.#receive.publish();
    this.#releasePages();
    return more || again;
  }

  #packet(header: Header, data: Parts): void {
    const { sourcePort: guestPort, targetPort: hostPort, op, type } = header;
    if (header.targetCid !== HOST_CID || header.sourceCid !== this.#cid) return;
    if (type !== TYPE_STREAM) {
      if (op !== Op.Reset) this.#resets.add(guestPort, hostPort);
      return;
    }
    this.#moved += data.bytes;
    if (op === Op.Request) this.#request(header);
    else this.#connections.packet(header, data);
  }

  #request({ sourcePort: guestPort, targetPort: hostPort, window, forwarded }: Header): void {
    const existing = this.#connections.find(guestPort, hostPort);
    if (existing === undefined) this.#host.dial({ guestPort, hostPort, header: { window, forwarded } });
    else this.#connections.refuse(existing);
  }

  #releasePages(): void {
    const moved = this.#moved + this.#receive.moved;
    if (moved < RELEASE_BYTES) return;
    this.#moved = 0;
    this.#receive.moved = 0;
    this.#memory?.releasePages();
  }
}
