import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

import type { SendStream } from '../api/route.ts';
import { closeAll } from '../native/descriptor-passing.ts';
import { createLog } from '../util/log.ts';
import { ProtocolError, closingReplyText, protocolReply, replyHeaders, streamHeaders } from './reply.ts';
import type { Reply } from './reply.ts';
import { sendStream } from './stream.ts';
import { holdDescriptors, type HeldDescriptors } from './received-descriptors.ts';

const log = createLog('http');

/**
 * Requests that may be queued behind the current one; the connection of a client that sends more is closed. One read of 64 KiB
 * can contain 2000, before any of them is begun.
 */
const MAX_WAITING = 4096;

/** Time that a connection stays open after its last reply, in milliseconds, so that its client can read the reply. */
const LINGER_MS = 1000;

/** An accepted connection, with the descriptors that arrive on it; see `ReceivingStream`. */
export interface ClientStream extends Duplex {
  /** Returns the descriptors of the oldest request, which the caller closes; none on a transport without descriptors. */
  readonly takeDescriptors: () => readonly number[];
  /** Destroys the connection as soon as the client has closed it completely; a transport may lack it. */
  readonly closeOnHangup?: () => void;
}

/** Time for which the last bytes of a stream wait for its client, in milliseconds: shorter where the server closes. */
const LAST_BYTES_MS = { usual: 10_000, stopping: 500 };

/** A request and the response that Node made for it. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/**
 * The connection of one client. Its requests are handled strictly one after the other, each after the reply to the previous one
 * was sent: a create and a boot in one packet must see each other's effects. Connections do not wait for each other.
 */
export class Connection {
  readonly #socket: ClientStream;
  readonly #headers: readonly string[];
  readonly #breaking = new AbortController();
  /** ends the current stream, as the server closes */
  #ending: AbortController | undefined;
  #tail: Promise<void> = Promise.resolve();
  #waiting = 0;
  /** a handler runs for this client, or its reply is being sent */
  #replying = false;
  #isAdmitted = false;
  #stopping = false;
  /** the last reply was sent; further bytes of the client are discarded */
  #finished = false;
  /** ends the protocol that has replaced HTTP; undefined: there is none */
  #end: (() => void) | undefined;

  /** `headers`, names and values in turn, are added to each reply. */
  constructor(socket: ClientStream, headers: readonly string[] = []) {
    this.#socket = socket;
    this.#headers = headers;
    // Node's HTTP server handles errors too, but no longer after a CONNECT
    socket.on('error', (error) => log.debug(`A connection failed: ${error.message}`));
    socket.once('surplus', (reason: string) => this.fail(new ProtocolError(400, reason)));
    socket.once('close', () => this.#breaking.abort(new Error('The client has closed the connection')));
  }

  /** headers of each reply beside its own, names and values in turn */
  get headers(): readonly string[] {
    return this.#headers;
  }

  /** the client has sent at least one request that it may send; any other connection is closed where there are too many */
  get isAdmitted(): boolean {
    return this.#isAdmitted;
  }

  /** Notes a whole request head that has passed the gate. */
  admit(): void {
    this.#isAdmitted = true;
  }

  /** Aborted when nothing more can be read: the client has closed the connection, or its bytes are not HTTP. */
  get broken(): AbortSignal {
    return this.#breaking.signal;
  }

  /** Returns the descriptors of the request whose head has just arrived; those not taken are closed with the connection. */
  takeDescriptors(): HeldDescriptors {
    const fds = this.#socket.takeDescriptors();
    const held = holdDescriptors(fds);
    if (fds.length > 0) this.#socket.once('close', held.close);
    return held;
  }

  /** Runs `task` after all previous ones; not at all where the connection ended meanwhile. */
  enqueue(task: () => Promise<void>): void {
    this.#waiting += 1;
    if (this.#waiting > MAX_WAITING && !this.#socket.destroyed) {
      log.warn(`A client was cut off: it sent more than ${MAX_WAITING} requests without waiting for answers`);
      this.#socket.destroy();
    }
    if (!this.#finished) this.#tail = this.#tail.then(() => this.#run(task));
  }

  /** Stops reading: handles the requests that have arrived in whole, then sends the reason and closes. */
  fail(reason: ProtocolError): void {
    if (this.broken.aborted) return;
    this.#breaking.abort(reason);
    this.#tail = this.#tail.then(() => this.closeWith(protocolReply(reason)));
  }

  /** Asks a client that waits for it (`Expect: 100-continue`) to send the body. */
  sendContinue(): void {
    this.#socket.write('HTTP/1.1 100 \r\n\r\n');
  }

  /** Gets the reply and sends it; settles when it is sent or the client has closed the connection. */
  async respond(exchange: Exchange, handle: () => Promise<Reply>): Promise<void> {
    this.#replying = true;
    const reply = await handle();
    if (!this.#socket.destroyed) await this.#send(exchange, reply);
    this.#replying = false;
    if (this.#stopping) this.#socket.destroy();
  }

  /** Sends a stream instead of a reply, then closes. Requests behind it are not handled. */
  async stream({ response }: Exchange, contentType: string, send: SendStream): Promise<void> {
    this.#replying = true;
    this.#ending = new AbortController();
    this.#socket.closeOnHangup?.();
    await sendStream(response, {
      headers: [...streamHeaders(contentType), ...this.#headers],
      send,
      signal: AbortSignal.any([this.broken, this.#ending.signal]),
      lastMs: () => (this.#stopping ? LAST_BYTES_MS.stopping : LAST_BYTES_MS.usual),
    });
    this.#replying = false;
    this.#finished = true;
    if (this.#stopping || !response.writableFinished) this.#socket.destroy();
    else this.#linger();
  }

  /** Sends a last reply and closes, without resetting the connection of a client that is still sending. */
  closeWith(reply: Reply): void {
    if (this.#finished || this.#socket.destroyed) return;
    this.#finished = true;
    this.#socket.end(closingReplyText(this.#complete(reply)));
    this.#linger();
  }

  /** Gives the connection to another protocol, which has sent the reply. `end` ends it when the server closes. */
  leaveHttp(end: () => void): void {
    this.#finished = true;
    this.#end = end;
    const socket = this.#socket;
    // the protocol has no use for descriptors
    socket.on('data', () => {
      for (let fds = socket.takeDescriptors(); fds.length > 0; fds = socket.takeDescriptors()) closeAll(fds);
    });
    socket.once('surplus', () => socket.destroy());
    if (this.#stopping) end();
  }

  /** Closes as soon as the current reply is sent, at once where there is none. */
  stop(): void {
    this.#stopping = true;
    this.#ending?.abort();
    if (this.#replying) return;
    if (this.#end !== undefined) return this.#end();
    if (this.#finished && !this.#socket.writableFinished) {
      this.#socket.once('finish', () => this.#socket.destroy());
    } else {
      this.#socket.destroy();
    }
  }

  /** Closes at once. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** Reads until the client closes its side too, for a limited time. */
  #linger(): void {
    const timer = setTimeout(() => this.#socket.destroy(), LINGER_MS);
    this.#socket.once('close', () => clearTimeout(timer));
    this.#socket.resume();
  }

  async #run(task: () => Promise<void>): Promise<void> {
    this.#waiting -= 1;
    if (this.#finished || this.#socket.destroyed) return;
    try {
      await task();
    } catch (error) {
      log.error(`A request could not be answered: ${error instanceof Error ? error.stack : String(error)}`);
      this.#socket.destroy();
    }
  }

  /** Adds the headers of the listener. */
  #complete(reply: Reply): Reply {
    if (this.#headers.length === 0) return reply;
    return { ...reply, headers: [...(reply.headers ?? []), ...this.#headers] };
  }

  async #send(exchange: Exchange, reply: Reply): Promise<void> {
    const { request, response } = exchange;
    const last = endsConnection(exchange);
    // a reply to HEAD must have no headers that announce a body to simple clients
    const { body: _body, ...head } = reply;
    const sent: Reply = request.method === 'HEAD' ? head : reply;
    await new Promise<void>((resolve) => {
      response.once('close', resolve);
      response.sendDate = false;
      response.writeHead(sent.status, '', replyHeaders(this.#complete(sent), last ? 'close' : 'keep-alive'));
      response.end(sent.body);
    });
    if (last) this.#finished = true;
  }
}

/**
 * Returns whether the connection ends with this reply: the client asked for it, or uses HTTP/1.0 without keep-alive, after which
 * Node's parser accepts no further request. After an offered upgrade the parser drops the rest of the packet, so the reply
 * announces the end.
 */
function endsConnection({ request, response }: Exchange): boolean {
  return !response.shouldKeepAlive || request.headers.upgrade !== undefined;
}
