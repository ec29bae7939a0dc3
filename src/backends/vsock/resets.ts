import type { Ports } from './thread-messages.ts';
import { emptyHeader, HOST_CID, Op, TYPE_STREAM, type Header } from './packet.ts';
import type { ReceiveQueue } from './receive-queue.ts';

/** The guest is not listened to while more of them wait for its buffers. */
const MOST = 256;

/** Packets that tell the guest that there is no such connection. */
export class Resets {
  readonly #header: Header = { ...emptyHeader(), sourceCid: HOST_CID, type: TYPE_STREAM, op: Op.Reset };
  #waiting: Ports[] = [];

  constructor(guestCid: number) {
    this.#header.targetCid = guestCid;
  }

  get isFull(): boolean {
    return this.#waiting.length >= MOST;
  }

  add(guestPort: number, hostPort: number): void {
    this.#waiting.push({ guestPort, hostPort });
  }

  clear(): void {
    this.#waiting = [];
  }

  /** @returns false where the guest has no buffers */
  send(guest: ReceiveQueue): boolean {
    let sent = 0;
    for (const { guestPort, hostPort } of this.#waiting) {
      this.#header.sourcePort = hostPort;
      this.#header.targetPort = guestPort;
      if (!guest.control(this.#header)) break;
      sent++;
    }
    this.#waiting.splice(0, sent);
    return this.#waiting.length === 0;
  }
}
