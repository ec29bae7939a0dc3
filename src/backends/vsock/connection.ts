import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from '../../native/epoll.ts';
import { libc } from '../../native/libc.ts';
import { type Block } from '../../native/memory.ts';
import { EAGAIN, errno } from '../../native/system-error.ts';
import { SHUT_RD, SHUT_WR } from '../../native/unix-socket.ts';
import type { Parts } from '../vhost-user/descriptor-chain.ts';
import { TransmitBuffer } from './transmit-buffer.ts';
import { Credit } from './credit.ts';
import { HOST_CID, Op, Shut, TYPE_STREAM, type Header } from './packet.ts';
import type { Filled, ReceiveQueue } from './receive-queue.ts';

/**
 * Bytes read at once at first and at most: twice as much as there was the last time. The guest works on one part
 * while we read the next.
 */
const APPETITE = { least: 4096, most: 64 * 1024 };

/** What a connection needs from the loop after it was served. */
export type Served =
  /** nothing, until something happens to it */
  | 'done'
  /** another turn */
  | 'again'
  /** buffers of the guest's */
  | 'starved'
  /** to be forgotten */
  | 'over';

interface Options {
  readonly fd: number;
  readonly guestCid: number;
  readonly guestPort: number;
  readonly hostPort: number;
  /** room for what the guest sends, in `bytes` */
  readonly window: number;
  /** shared by all connections */
  readonly vectors: Block;
  /** the guest asked for it; otherwise a program of the host */
  readonly fromGuest: boolean;
}

/** One stream between a program in the guest and one of the host. */
export class Connection {
  readonly fd: number;
  readonly guestPort: number;
  readonly hostPort: number;
  readonly credit: Credit;
  readonly #guestCid: number;
  readonly #backlog: TransmitBuffer;
  /** the guest has agreed, or has asked for it itself */
  #open: boolean;
  /** packets without data that the guest is still to get, a bit for each Op */
  #owed: number;
  /** what the host's program will not do any more, as the guest is told */
  #hostDone = 0;
  /** what the guest will not do any more */
  #guestDone = 0;
  #readable = false;
  #writable = true;
  #hungUp = false;
  #writeShut = false;
  /** the guest has nothing to do with it any more; what it sent is still on its way to the host's program */
  #leftByGuest = false;
  #appetite = APPETITE.least;

  constructor({ fd, guestCid, guestPort, hostPort, window, vectors, fromGuest }: Options) {
    this.fd = fd;
    this.guestPort = guestPort;
    this.hostPort = hostPort;
    this.credit = new Credit(window);
    this.#guestCid = guestCid;
    this.#backlog = new TransmitBuffer(window, vectors);
    this.#open = fromGuest;
    this.#owed = 1 << (fromGuest ? Op.Response : Op.Request);
  }

  /** waits for the guest to agree */
  get isAsking(): boolean {
    return !this.#open;
  }

  /** both directions have ended on the host's side; the guest is to confirm it */
  get isClosing(): boolean {
    return this.#hostDone === Shut.Both;
  }

  /** What epoll says about the socket. */
  events(mask: number): void {
    if ((mask & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) !== 0) this.#readable = true;
    if ((mask & (EPOLLHUP | EPOLLERR)) !== 0) this.#hungUp = true;
    if ((mask & EPOLLOUT) !== 0) this.#writable = true;
  }

  /** The guest agrees to a connection that the host asked for. */
  accept(): void {
    this.#open = true;
  }

  /** Takes data from the guest. @returns false where the guest may not send it */
  receive(data: Parts): boolean {
    if (!this.#open || (this.#guestDone & Shut.Send) !== 0 || !this.credit.receive(data.bytes)) return false;
    if (this.#backlog.length === 0 && this.#writable) this.#write(data);
    if (this.#isDeaf) this.credit.forward(data.bytes);
    else data.each(0, data.bytes, (address, length) => this.#backlog.add(address, length));
    return true;
  }

  /** The guest will not do this any more. @returns false where it was the last it did */
  shutDown(flags: number): boolean {
    this.#guestDone |= flags & Shut.Both;
    if ((this.#guestDone & Shut.Receive) !== 0) libc().shutdown(this.fd, SHUT_RD);
    this.#endWriting();
    return this.#guestDone !== Shut.Both;
  }

  /** Owes the guest a packet without data. */
  owe(op: number): void {
    this.#owed |= 1 << op;
  }

  /** The guest is done with it. @returns false where nothing is left for the host's program either */
  leave(): boolean {
    this.#leftByGuest = true;
    this.#owed = 0;
    return this.#backlog.length > 0;
  }

  close(): void {
    this.#backlog.free();
    libc().close(this.fd);
  }

  /** Does what can be done now, in both directions. */
  serve(guest: ReceiveQueue, header: Header): Served {
    this.flush();
    if (this.#leftByGuest) return this.#backlog.length > 0 ? 'done' : 'over';
    if (this.credit.isStale) this.owe(Op.CreditUpdate);
    // an earlier end of one direction becomes the end of both
    if (this.#hungUp && this.#hostDone === Shut.Send) this.#finish(Shut.Receive);
    if (!this.#sendOwed(guest, header)) return 'starved';
    if (this.#isReset) return 'over';
    return this.#fill(guest, header);
  }

  /** Fills in whose packet it is and how much room there is. */
  address(header: Header, op: number): Header {
    header.sourceCid = HOST_CID;
    header.targetCid = this.#guestCid;
    header.sourcePort = this.hostPort;
    header.targetPort = this.guestPort;
    header.type = TYPE_STREAM;
    header.op = op;
    header.flags = op === Op.Shutdown ? this.#hostDone : 0;
    header.window = this.credit.window;
    header.forwarded = this.credit.forwarded;
    return header;
  }

  get #isReset(): boolean {
    return (this.#owed & (1 << Op.Reset)) !== 0;
  }

  /** Writes what the socket takes and drops it from the data. */
  #write(data: Parts): void {
    const count = libc().writev(this.fd, data.vectors, data.count);
    if (count < 0) {
      this.#writable = false;
      if (errno() !== EAGAIN) this.#deafen();
      return;
    }
    this.credit.forward(count);
    if (count < data.bytes) this.#writable = false;
    data.skip(count);
  }

  /** Writes what waits for the host's program, as much as it takes. */
  flush(): void {
    if (!this.#writable || this.#backlog.length === 0) return;
    const count = this.#backlog.writeTo(this.fd);
    if (count < 0) return this.#deafen();
    this.credit.forward(count);
    if (this.#backlog.length > 0) this.#writable = false;
    else this.#endWriting();
  }

  /** Nobody reads the socket any more. What the host's program wrote before may still be there to be read. */
  #deafen(): void {
    this.credit.forward(this.#backlog.length);
    this.#backlog.free();
    this.#readable = true;
    this.#finish(Shut.Receive);
  }

  get #isDeaf(): boolean {
    return (this.#hostDone & Shut.Receive) !== 0;
  }

  #endWriting(): void {
    if (this.#writeShut || (this.#guestDone & Shut.Send) === 0 || this.#backlog.length > 0) return;
    this.#writeShut = true;
    libc().shutdown(this.fd, SHUT_WR);
  }

  /** @returns false where the guest has no buffers */
  #sendOwed(guest: ReceiveQueue, header: Header): boolean {
    for (const op of ORDER) {
      if ((this.#owed & (1 << op)) === 0) continue;
      if (!guest.control(this.address(header, op))) return false;
      this.credit.announce();
      // a reset stays: it says that this is the end
      if (op === Op.Reset) return true;
      this.#owed &= ~(1 << op);
    }
    return true;
  }

  #fill(guest: ReceiveQueue, header: Header): Served {
    if (!this.#open || !this.#readable) return 'done';
    if ((this.#hostDone & Shut.Send) !== 0 || (this.#guestDone & Shut.Receive) !== 0) return 'done';
    const limit = Math.min(this.credit.sendable, this.#appetite);
    if (limit === 0) return 'done';
    return this.#filled(guest.data(this.address(header, Op.Data), this.fd, limit));
  }

  #filled(filled: Filled): Served {
    switch (filled) {
      case 'starved':
        return 'starved';
      case 'empty':
        this.#readable = false;
        return 'done';
      case 'end':
        this.#finish(this.#hungUp ? Shut.Both : Shut.Send);
        return 'again';
      case 'broken':
        this.owe(Op.Reset);
        return 'again';
      default:
        this.credit.send(filled);
        this.credit.announce();
        this.#appetite = Math.min(APPETITE.most, Math.max(APPETITE.least, filled * 2));
        return 'again';
    }
  }

  /** The host's program will not do this any more: the guest is told. */
  #finish(flags: number): void {
    this.#hostDone |= flags;
    this.owe(Op.Shutdown);
  }
}

/** Packets without data in the order in which the guest must get them. */
const ORDER = [Op.Request, Op.Response, Op.CreditUpdate, Op.Shutdown, Op.Reset] as const;
