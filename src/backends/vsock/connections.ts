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

/** Most connections: those of Cloud Hypervisor, and at most half of the descriptor limit of this process. */
export const MAX_CONNECTIONS = Math.min(1023, Math.floor(descriptorLimit() / 2));

/** Time limit for the guest's response to a request, and for its confirmation of a shutdown, in `ms`. */
const RESPONSE_MS = 2000;

/** Most connections that one call serves, so that events of the host are handled in between. */
const BUDGET = 64;

/** First host port of connections that programs of the host open; the guest's own ports count from 0. */
const FIRST_HOST_PORT = 2 ** 30;

/** Size of the buffer for the guest's data, in `bytes`, by the number of connections: their sum is bounded. */
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

/** All connections, which are served in turn. */
export class Connections {
  readonly #cid: number;
  readonly #loop: EventLoop;
  readonly #resets: Resets;
  readonly #vectors: Block;
  readonly #table = new ConnectionTable();
  readonly #watches = new Map<Connection, Watch>();
  /** connections that have work to do */
  readonly #awake = new Set<Connection>();
  readonly #asking = new Deadlines<Connection>(RESPONSE_MS);
  readonly #closing = new Deadlines<Connection>(RESPONSE_MS);
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

  get handoverState(): HandoverState {
    const streams = [...this.#watches.keys()].map(({ guestPort, hostPort }) => ({ guestPort, hostPort }));
    return { streams, nextHostPort: this.#nextHostPort };
  }

  /** Continues the host ports of another device: an old port may still belong to a dead connection in the guest. */
  follow({ nextHostPort }: HandoverState): void {
    this.#nextHostPort = nextHostPort;
  }

  /** Opens a connection, which closes the socket. */
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

  /** Returns a host port that no connection to this guest port uses. */
  freeHostPort(guestPort: number): number {
    for (;;) {
      const port = this.#nextHostPort;
      this.#nextHostPort = port + 1 < 2 ** 32 ? port + 1 : FIRST_HOST_PORT;
      if (this.#table.get(guestPort, port) === undefined) return port;
    }
  }

  /** Handles a packet other than a request for a connection. */
  packet(header: Header, data: Parts): void {
    const { sourcePort: guestPort, targetPort: hostPort, op } = header;
    const connection = this.#table.get(guestPort, hostPort);
    if (connection === undefined) {
      if (op !== Op.Reset) this.#resets.add(guestPort, hostPort);
      return;
    }
    connection.credit.update(header.window, header.forwarded);
    this.#awake.add(connection);
    if (op === Op.Reset) this.#leave(connection);
    else if (!this.#take(connection, header, data)) this.refuse(connection);
  }

  /** Resets a connection from the host's side. */
  refuse(connection: Connection): void {
    this.#resets.add(connection.guestPort, connection.hostPort);
    this.#leave(connection);
  }

  find(guestPort: number, hostPort: number): Connection | undefined {
    return this.#table.get(guestPort, hostPort);
  }

  /**
   * Serves the connections that have work to do.
   * @returns true where more remain than one call allows
   */
  serve(guest: ReceiveQueue, header: Header): boolean {
    let count = 0;
    // a connection that is added again is reached again in this loop
    for (const connection of this.#awake) {
      if (count++ === BUDGET) return true;
      this.#awake.delete(connection);
      const served = connection.serve(guest, header);
      this.#served(connection, served);
      if (served === 'starved' && !guest.enableNotifications()) return false;
    }
    return false;
  }

  /** Writes data to programs of the host while the guest is paused. @returns false: no other work remains */
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

  /** Returns the time until the next deadline, in `ms`. */
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
      // the program has closed the connection meanwhile
      return false;
    }
  }

  #served(connection: Connection, served: Served): void {
    if (served === 'over') return this.#forget(connection);
    if (served !== 'done') this.#awake.add(connection);
    if (connection.isClosing) this.#closing.start(connection, performance.now());
  }

  /** Closes a connection for the guest; data that it sent before is still written to the host's program. */
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
