import type { Ports } from './thread-messages.ts';
import { emptyHeader, HOST_CID, Op, TYPE_STREAM, type Header } from './packet.ts';
import type { ReceiveQueue } from './receive-queue.ts';

/** Most queued resets: packets of the guest are not handled while there are more. */
const MOST = 256;

/** Queued reset packets for the guest, for connections that do not exist. */
export class Resets {
  readonly #header: Header = { ...emptyHeader(), sourceCid: HOST_CID, type: TYPE_STREAM, op: Op.Reset };
  #queued: Ports[] = [];

  constructor(guestCid: number) {
    this.#header.targetCid = guestCid;
  }

  get isFull(): boolean {
    return this.#queued.length >= MOST;
  }

  add(guestPort: number, hostPort: number): void {
    this.#queued.push({ guestPort, hostPort });
  }

  clear(): void {
    this.#queued = [];
  }

  /** @returns false where the guest has no buffers */
  send(guest: ReceiveQueue): boolean {
    let sent = 0;
    for (const { guestPort, hostPort } of this.#queued) {
      this.#header.sourcePort = hostPort;
      this.#header.targetPort = guestPort;
      if (!guest.control(this.#header)) break;
      sent++;
    }
    this.#queued.splice(0, sent);
    return this.#queued.length === 0;
  }
}
