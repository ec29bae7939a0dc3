import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from '../../native/epoll.ts';
import { libc } from '../../native/libc.ts';
import { type Block } from '../../native/memory.ts';
import { EAGAIN, errno } from '../../native/system-error.ts';
import { SHUT_RD, SHUT_WR } from '../../native/unix-socket.ts';
import type { Parts } from '../vhost-user/descriptor-chain.ts';
import { toWrite } from '../vhost-user/transfer.ts';
import { TransmitBuffer } from './transmit-buffer.ts';
import { Credit } from './credit.ts';
import { HOST_CID, Op, Shut, TYPE_STREAM, type Header } from './packet.ts';
import type { Filled, ReceiveQueue } from './receive-queue.ts';

/**
 * Size of a read: twice the size of the last one, within these limits in `bytes`. The guest handles one part while the next is
 * read.
 */
const READ_BYTES = { least: 4096, most: 64 * 1024 };

/** Need of a connection after it was served. */
export type Served =
  /** nothing, until something happens to it */
  | 'done'
  /** to be served again */
  | 'again'
  /** receive buffers of the guest */
  | 'starved'
  /** to be removed */
  | 'over';

interface Options {
  readonly fd: number;
  readonly guestCid: number;
  readonly guestPort: number;
  readonly hostPort: number;
  /** size of the buffer for the guest's data, in `bytes` */
  readonly window: number;
  /** shared by all connections */
  readonly vectors: Block;
  /** the guest opened the connection; otherwise a program of the host */
  readonly fromGuest: boolean;
}

/** One stream connection between a program in the guest and one of the host. */
export class Connection {
  readonly fd: number;
  readonly guestPort: number;
  readonly hostPort: number;
  readonly credit: Credit;
  readonly #guestCid: number;
  readonly #buffer: TransmitBuffer;
  /** the connection is established */
  #open: boolean;
  /** packets without data that are to be sent to the guest, a bit for each Op */
  #owed: number;
  /** directions that the host's program has shut down (`Shut`), as the guest is notified */
  #hostDone = 0;
  /** directions that the guest has shut down (`Shut`) */
  #guestDone = 0;
  #readable = false;
  #writable = true;
  #hungUp = false;
  #writeShut = false;
  /** the connection is closed for the guest; its last data is still to be written to the host's program */
  #leftByGuest = false;
  #readSize = READ_BYTES.least;

  constructor({ fd, guestCid, guestPort, hostPort, window, vectors, fromGuest }: Options) {
    this.fd = fd;
    this.guestPort = guestPort;
    this.hostPort = hostPort;
    this.credit = new Credit(window);
    this.#guestCid = guestCid;
    this.#buffer = new TransmitBuffer(window, vectors);
    this.#open = fromGuest;
    this.#owed = 1 << (fromGuest ? Op.Response : Op.Request);
  }

  /** the guest has not responded to the request yet */
  get isAsking(): boolean {
    return !this.#open;
  }

  /** both directions are shut down by the host's program; the guest has to confirm it */
  get isClosing(): boolean {
    return this.#hostDone === Shut.Both;
  }

  /** Handles epoll events of the socket. */
  events(mask: number): void {
    if ((mask & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) !== 0) this.#readable = true;
    if ((mask & (EPOLLHUP | EPOLLERR)) !== 0) this.#hungUp = true;
    if ((mask & EPOLLOUT) !== 0) this.#writable = true;
  }

  /** The guest accepts a connection that the host requested. */
  accept(): void {
    this.#open = true;
  }

  /** Handles data of the guest. @returns false where the guest may not send it */
  receive(data: Parts): boolean {
    if (!this.#open || (this.#guestDone & Shut.Send) !== 0 || !this.credit.receive(data.bytes)) return false;
    if (this.#buffer.length === 0 && this.#writable) this.#write(data);
    if (this.#isWritingEnded) this.credit.forward(data.bytes);
    else this.#buffer.add(data);
    return true;
  }

  /** The guest shuts down directions. @returns false where both are shut down now */
  shutDown(flags: number): boolean {
    this.#guestDone |= flags & Shut.Both;
    if ((this.#guestDone & Shut.Receive) !== 0) libc().shutdown(this.fd, SHUT_RD);
    this.#endWriting();
    return this.#guestDone !== Shut.Both;
  }

  /** Schedules a packet without data for the guest. */
  owe(op: number): void {
    this.#owed |= 1 << op;
  }

  /** Closes the connection for the guest. @returns false where no data is left for the host's program either */
  leave(): boolean {
    this.#leftByGuest = true;
    this.#owed = 0;
    return this.#buffer.length > 0;
  }

  close(): void {
    this.#buffer.free();
    libc().close(this.fd);
  }

  /** Moves data and packets in both directions, as far as possible now. */
  serve(guest: ReceiveQueue, header: Header): Served {
    this.flush();
    if (this.#leftByGuest) return this.#buffer.length > 0 ? 'done' : 'over';
    if (this.credit.isStale) this.owe(Op.CreditUpdate);
    // the host's program has closed the other direction as well
    if (this.#hungUp && this.#hostDone === Shut.Send) this.#finish(Shut.Receive);
    if (!this.#sendOwed(guest, header)) return 'starved';
    if (this.#isReset) return 'over';
    return this.#fill(guest, header);
  }

  /** Fills in the addresses and the credit of a packet. */
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

  /** Writes as much as the socket takes and removes it from the data. */
  #write(data: Parts): void {
    const { vectors, count: most } = toWrite(data, 0, data.bytes);
    const count = libc().writev(this.fd, vectors, most);
    if (count < 0) {
      this.#writable = false;
      if (errno() !== EAGAIN) this.#stopWriting();
      return;
    }
    this.credit.forward(count);
    if (count < data.bytes) this.#writable = false;
    data.skip(count);
  }

  /** Writes buffered data to the host's program, as much as the socket takes. */
  flush(): void {
    if (!this.#writable || this.#buffer.length === 0) return;
    const count = this.#buffer.writeTo(this.fd);
    if (count < 0) return this.#stopWriting();
    this.credit.forward(count);
    if (this.#buffer.length > 0) this.#writable = false;
    else this.#endWriting();
  }

  /** The host's program no longer reads: discards buffered data. Data that it wrote before may still be readable. */
  #stopWriting(): void {
    this.credit.forward(this.#buffer.length);
    this.#buffer.free();
    this.#readable = true;
    this.#finish(Shut.Receive);
  }

  get #isWritingEnded(): boolean {
    return (this.#hostDone & Shut.Receive) !== 0;
  }

  #endWriting(): void {
    if (this.#writeShut || (this.#guestDone & Shut.Send) === 0 || this.#buffer.length > 0) return;
    this.#writeShut = true;
    libc().shutdown(this.fd, SHUT_WR);
  }

  /** @returns false where the guest has no buffers */
  #sendOwed(guest: ReceiveQueue, header: Header): boolean {
    for (const op of ORDER) {
      if ((this.#owed & (1 << op)) === 0) continue;
      if (!guest.control(this.address(header, op))) return false;
      this.credit.announce();
      // a reset stays scheduled: the connection is over
      if (op === Op.Reset) return true;
      this.#owed &= ~(1 << op);
    }
    return true;
  }

  #fill(guest: ReceiveQueue, header: Header): Served {
    if (!this.#open || !this.#readable) return 'done';
    if ((this.#hostDone & Shut.Send) !== 0 || (this.#guestDone & Shut.Receive) !== 0) return 'done';
    const limit = Math.min(this.credit.sendable, this.#readSize);
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
        this.#readSize = Math.min(READ_BYTES.most, Math.max(READ_BYTES.least, filled * 2));
        return 'again';
    }
  }

  /** The host's program has shut down directions: notifies the guest. */
  #finish(flags: number): void {
    this.#hostDone |= flags;
    this.owe(Op.Shutdown);
  }
}

/** Packets without data in the order in which the guest must get them. */
const ORDER = [Op.Request, Op.Response, Op.CreditUpdate, Op.Shutdown, Op.Reset] as const;
