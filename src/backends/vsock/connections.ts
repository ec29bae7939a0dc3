import { writeSync } from 'node:fs';
import { descriptorLimit } from '../../util/descriptor-limit.ts';
import type { EventLoop, Watch } from '../event-loop.ts';
import { EPOLLET, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from '../../native/epoll.ts';
import { type Block } from '../../native/memory.ts';
import type { Parts } from '../vhost-user/descriptor-chain.ts';
import { Connection, type Served } from './connection.ts';
import { ConnectionTable } from './connection-table.ts';
import { Deadlines } from './deadlines.ts';
import type { HandoverState } from './thread-messages.ts';
import { Op, type Header } from './packet.ts';
import type { Resets } from './resets.ts';
import type { ReceiveQueue } from './receive-queue.ts';

/** As many as Cloud Hypervisor has, and at most half of the descriptors that this process may have. */
export const MAX_CONNECTIONS = Math.min(1023, Math.floor(descriptorLimit() / 2));

/** How long the guest may take to answer a request, and to confirm an end, in `ms`. */
const PATIENCE_MS = 2000;

/** Turns of connections before others than the guest get theirs. */
const BUDGET = 64;

/** The first port of the host for connections that its programs ask for; the guest's own count from 0. */
const FIRST_HOST_PORT = 2 ** 30;

/** Room for what the guest sends, in `bytes`, by the number of connections: all of them together have a bound. */
const WINDOWS = [
  { upTo: 16, bytes: 1024 * 1024 },
  { upTo: 128, bytes: 256 * 1024 },
  { upTo: Infinity, bytes: 64 * 1024 },
] as const;

interface Options {
  readonly cid: number;
  readonly loop: EventLoop;
  readonly resets: Resets;
  /** two `struct iovec` for all connections */
  readonly vectors: Block;
}

interface Opening {
  readonly fd: number;
  readonly guestPort: number;
  readonly hostPort: number;
  readonly fromGuest: boolean;
}

/** All connections, each with its turn. */
export class Connections {
  readonly #cid: number;
  readonly #loop: EventLoop;
  readonly #resets: Resets;
  readonly #vectors: Block;
  readonly #table = new ConnectionTable();
  readonly #watches = new Map<Connection, Watch>();
  /** those that there is something to do for */
  readonly #awake = new Set<Connection>();
  readonly #asking = new Deadlines<Connection>(PATIENCE_MS);
  readonly #closing = new Deadlines<Connection>(PATIENCE_MS);
  #nextHostPort = FIRST_HOST_PORT;

  constructor({ cid, loop, resets, vectors }: Options) {
    this.#cid = cid;
    this.#loop = loop;
    this.#resets = resets;
    this.#vectors = vectors;
  }

  get count(): number {
    return this.#watches.size;
  }

  get past(): HandoverState {
    const streams = [...this.#watches.keys()].map(({ guestPort, hostPort }) => ({ guestPort, hostPort }));
    return { streams, nextHostPort: this.#nextHostPort };
  }

  /** Goes on where another device ended: a port of then may still be that of a dead stream in the guest. */
  follow({ nextHostPort }: HandoverState): void {
    this.#nextHostPort = nextHostPort;
  }

  /** Begins a connection; the socket is its own from now on. */
  open({ fd, guestPort, hostPort, fromGuest }: Opening): Connection {
    const window = WINDOWS.find(({ upTo }) => this.count < upTo)?.bytes ?? 0;
    const connection = new Connection({
      ...{ fd, guestPort, hostPort, fromGuest, window },
      ...{ guestCid: this.#cid, vectors: this.#vectors },
    });
    const watch = this.#loop.watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, (events) => {
      connection.events(events);
      this.#awake.add(connection);
    });
    this.#watches.set(connection, watch);
    this.#table.add(connection);
    this.#awake.add(connection);
    if (!fromGuest) this.#asking.start(connection, performance.now());
    return connection;
  }

  /** A port of the host's that no connection to this port of the guest has. */
  freeHostPort(guestPort: number): number {
    for (;;) {
      const port = this.#nextHostPort;
      this.#nextHostPort = port + 1 < 2 ** 32 ? port + 1 : FIRST_HOST_PORT;
      if (this.#table.get(guestPort, port) === undefined) return port;
    }
  }

  /** Takes a packet that is no request for a connection. */
  packet(header: Header, data: Parts): void {
    const { sourcePort: guestPort, targetPort: hostPort, op } = header;
    const connection = this.#table.get(guestPort, hostPort);
    if (connection === undefined) {
      if (op !== Op.Reset) this.#resets.add(guestPort, hostPort);
      return;
    }
    connection.credit.learn(header.window, header.forwarded);
    this.#awake.add(connection);
    if (op === Op.Reset) this.#leave(connection);
    else if (!this.#take(connection, header, data)) this.refuse(connection);
  }

  /** Ends a connection from the host's side, whatever the guest was about to do with it. */
  refuse(connection: Connection): void {
    this.#resets.add(connection.guestPort, connection.hostPort);
    this.#leave(connection);
  }

  find(guestPort: number, hostPort: number): Connection | undefined {
    return this.#table.get(guestPort, hostPort);
  }

  /**
   * Gives those their turn that have something to do.
   * @returns true where there is more to do than one call allows
   */
  serve(guest: ReceiveQueue, header: Header): boolean {
    let turns = 0;
    // one that is put behind the others comes up again in this very loop
    for (const connection of this.#awake) {
      if (turns++ === BUDGET) return true;
      this.#awake.delete(connection);
      const served = connection.serve(guest, header);
      this.#served(connection, served);
      if (served === 'starved' && !guest.askForKick()) return false;
    }
    return false;
  }

  /** Data for programs of the host goes on while the guest is paused. @returns false: there is nothing else to do */
  flush(): false {
    for (const connection of this.#awake) connection.flush();
    return false;
  }

  wakeAll(): void {
    for (const connection of this.#watches.keys()) this.#awake.add(connection);
  }

  dropAll(): void {
    for (const connection of this.#watches.keys()) this.#forget(connection);
  }

  expire(now: number): void {
    for (const connection of this.#asking.expired(now)) this.refuse(connection);
    for (const connection of this.#closing.expired(now)) this.refuse(connection);
  }

  /** Until the next one has waited in vain, in `ms`. */
  nextDeadline(now: number): number | undefined {
    const [asking, closing] = [this.#asking.next(now), this.#closing.next(now)];
    return asking === undefined || closing === undefined ? (asking ?? closing) : Math.min(asking, closing);
  }

  /** @returns false where the guest may not send this */
  #take(connection: Connection, { op, flags }: Header, data: Parts): boolean {
    switch (op) {
      case Op.Response:
        return this.#accept(connection);
      case Op.Data:
        return connection.receive(data);
      case Op.Shutdown:
        return connection.shutDown(flags);
      case Op.CreditRequest:
        connection.owe(Op.CreditUpdate);
        return true;
      default:
        return op === Op.CreditUpdate;
    }
  }

  #accept(connection: Connection): boolean {
    if (!connection.isAsking) return false;
    this.#asking.cancel(connection);
    connection.accept();
    try {
      writeSync(connection.fd, `OK ${connection.hostPort}\n`);
      return true;
    } catch {
      // it has gone away meanwhile
      return false;
    }
  }

  #served(connection: Connection, served: Served): void {
    if (served === 'over') return this.#forget(connection);
    if (served !== 'done') this.#awake.add(connection);
    if (connection.isClosing) this.#closing.start(connection, performance.now());
  }

  /** The guest is done with it; what it sent before still goes to the host's program. */
  #leave(connection: Connection): void {
    this.#table.remove(connection);
    this.#asking.cancel(connection);
    this.#closing.cancel(connection);
    if (!connection.leave()) this.#forget(connection);
  }

  #forget(connection: Connection): void {
    if (this.#table.get(connection.guestPort, connection.hostPort) === connection)
      this.#table.remove(connection);
    this.#asking.cancel(connection);
    this.#closing.cancel(connection);
    this.#awake.delete(connection);
    this.#watches.get(connection)?.stop();
    this.#watches.delete(connection);
    connection.close();
  }
}
