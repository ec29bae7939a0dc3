import type { Log } from '../../util/log.ts';
import type { EventLoop } from '../event-loop.ts';
import { allocate, type Block } from '../../native/memory.ts';
import { QueueError, type Parts } from '../vhost-user/descriptor-chain.ts';
import type { Device, Start } from '../vhost-user/device.ts';
import type { GuestMemory } from '../vhost-user/guest-memory.ts';
import { TransmitQueue } from './transmit-queue.ts';
import { ConnectionSetup } from './connection-setup.ts';
import type { HandoverState } from './thread-messages.ts';
import { emptyHeader, HOST_CID, Op, TYPE_STREAM, type Header } from './packet.ts';
import { Resets } from './resets.ts';
import { Connections } from './connections.ts';
import { ReceiveQueue } from './receive-queue.ts';

/** Data that went through before the guest's pages are let go of, in `bytes`: they would count as our memory. */
const RELEASE_BYTES = 32 * 2 ** 20;

interface Options {
  readonly cid: number;
  /** path of the host's socket */
  readonly path: string;
  /** the socket that is listened on */
  readonly listener: number;
  readonly loop: EventLoop;
  readonly log: Log;
}

/** The virtio socket device (virtio 1.1, section 5.10), its host side on UNIX sockets. */
export class VsockDevice implements Device {
  readonly features = 0n;
  /** receive and transmit; the event queue stays with QEMU */
  readonly queues = 2;
  readonly #cid: number;
  readonly #log: Log;
  readonly #fromGuest = new TransmitQueue();
  readonly #toGuest = new ReceiveQueue(() => this.#fromGuest.showData());
  readonly #vectors: Block = allocate(32);
  readonly #resets: Resets;
  readonly #streams: Connections;
  readonly #host: ConnectionSetup;
  readonly #header = emptyHeader();
  #memory: GuestMemory | undefined;
  #moved = 0;

  constructor({ cid, path, listener, loop, log }: Options) {
    this.#cid = cid;
    this.#log = log;
    this.#resets = new Resets(cid);
    this.#streams = new Connections({ cid, loop, resets: this.#resets, vectors: this.#vectors });
    this.#host = new ConnectionSetup({ path, listener, loop, streams: this.#streams, resets: this.#resets });
  }

  config(): Uint8Array {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt(this.#cid), true);
    return new Uint8Array(view.buffer);
  }

  start({ queues, memory, resumed }: Start): void {
    if (!resumed) this.reset();
    this.#memory = memory;
    [this.#toGuest.queue, this.#fromGuest.queue] = queues;
    this.#streams.wakeAll();
    this.#host.open();
  }

  stop(): void {
    this.#memory = undefined;
    this.#toGuest.queue = undefined;
    this.#fromGuest.queue = undefined;
    this.#host.pause();
  }

  kicked(queue: number): void {
    if (queue === 1) this.#fromGuest.kick();
  }

  reset(): void {
    this.#streams.dropAll();
    this.#host.reset();
    this.#resets.clear();
  }

  /** What a device must know that gets this one's guest. */
  get past(): HandoverState {
    return this.#streams.past;
  }

  /** The guest had another device, whose streams are over. */
  follow(past: HandoverState): void {
    for (const { guestPort, hostPort } of past.streams) this.#resets.add(guestPort, hostPort);
    this.#streams.follow(past);
  }

  /**
   * Does what has come up since the last time.
   * @returns in how many `ms` there is something to do if nothing happens: 0 for at once, -1 for never
   */
  settle(): number {
    try {
      return this.#settle();
    } catch (error) {
      if (!(error instanceof QueueError)) throw error;
      this.#log.warn(`the guest's driver broke a rule, its sockets are closed: ${error.message}`);
      this.stop();
      this.reset();
      return -1;
    }
  }

  [Symbol.dispose](): void {
    this.stop();
    this.reset();
    this.#host[Symbol.dispose]();
    this.#toGuest.free();
    this.#fromGuest.free();
    this.#vectors.free();
  }

  #settle(): number {
    const now = performance.now();
    this.#streams.expire(now);
    this.#host.retry(now);
    this.#fromGuest.showLate(now);
    const knocking = this.#host.accept();
    const more = this.#memory === undefined ? this.#streams.flush() : this.#exchange();
    if (knocking || more) return 0;
    const waits = [
      this.#streams.nextDeadline(now),
      this.#host.nextRetry(now),
      this.#fromGuest.patience(now),
    ].filter((one) => one !== undefined);
    return waits.length === 0 ? -1 : Math.min(...waits);
  }

  /** One turn for packets both ways. @returns true where there is more than one turn allows */
  #exchange(): boolean {
    const more = this.#fromGuest.take(
      () => !this.#resets.isFull,
      (header, data) => this.#packet(header, data),
    );
    const again = this.#resets.send(this.#toGuest)
      ? this.#streams.serve(this.#toGuest, this.#header)
      : this.#toGuest.askForKick();
    this.#toGuest.publish();
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
    else this.#streams.packet(header, data);
  }

  #request({ sourcePort: guestPort, targetPort: hostPort, window, forwarded }: Header): void {
    const existing = this.#streams.find(guestPort, hostPort);
    if (existing === undefined) this.#host.dial({ guestPort, hostPort, header: { window, forwarded } });
    else this.#streams.refuse(existing);
  }

  #releasePages(): void {
    const moved = this.#moved + this.#toGuest.moved;
    if (moved < RELEASE_BYTES) return;
    this.#moved = 0;
    this.#toGuest.moved = 0;
    this.#memory?.releasePages();
  }
}
