import type { IncomingMessage, ServerResponse } from 'node:http';

import { createLog } from '../util/log.ts';
import { ProtocolError, closingReplyText, protocolReply, replyHeaders } from './reply.ts';
import type { Reply } from './reply.ts';
import { holdDescriptors, type HeldDescriptors } from './received-descriptors.ts';
import type { ReceivingStream } from './receiving-stream.ts';

const log = createLog('http');

/**
 * Requests that may wait behind the one under way; a client that sends more is cut off. One read of 64 KiB can
 * bring 2000, before any of them is begun.
 */
const MAX_WAITING = 4096;

/** How long a connection that was given up may still send, so that its client gets to read why. */
const LINGER_MS = 1000;

/** A request and the response that Node made for it. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/**
 * One client. Its requests are done strictly one after the other, each when the answer to the one before has gone
 * out: a create and a boot sent in one go must see each other's effects. Nothing waits for other connections.
 */
export class Connection {
  readonly #socket: ReceivingStream;
  readonly #breaking = new AbortController();
  #tail: Promise<void> = Promise.resolve();
  #waiting = 0;
  /** A handler is at work for this client, or its answer is on the way out. */
  #answering = false;
  #hasAsked = false;
  #stopping = false;
  /** The last answer was given; what else the client sends is thrown away. */
  #finished = false;

  constructor(socket: ReceivingStream) {
    this.#socket = socket;
    // Node's HTTP server listens for errors too, but stops when a CONNECT takes the socket out of its hands.
    socket.on('error', (error) => log.debug(`A connection failed: ${error.message}`));
    socket.once('surplus', (reason: string) => this.fail(new ProtocolError(400, reason)));
    socket.once('close', () => this.#breaking.abort(new Error('The client has gone')));
  }

  /** It has sent a whole head at least once. */
  get hasAsked(): boolean {
    return this.#hasAsked;
  }

  /** Aborts when nothing more can be read: the client went away, or what it sends is not HTTP. */
  get broken(): AbortSignal {
    return this.#breaking.signal;
  }

  /** The descriptors of the request whose head is whole just now; what is left of them goes with the connection. */
  takeFiles(): HeldDescriptors {
    this.#hasAsked = true;
    const fds = this.#socket.takeDescriptors();
    const files = holdDescriptors(fds);
    if (fds.length > 0) this.#socket.once('close', files.close);
    return files;
  }

  /** Does `task` when everything that came before is done; not at all when the connection ended meanwhile. */
  enqueue(task: () => Promise<void>): void {
    this.#waiting += 1;
    if (this.#waiting > MAX_WAITING && !this.#socket.destroyed) {
      log.warn(`A client was cut off: it sent more than ${MAX_WAITING} requests without waiting for answers`);
      this.#socket.destroy();
    }
    if (!this.#finished) this.#tail = this.#tail.then(() => this.#run(task));
  }

  /** Nothing can be read any more: does what has arrived in whole, then says why and closes. */
  fail(reason: ProtocolError): void {
    if (this.broken.aborted) return;
    this.#breaking.abort(reason);
    this.#tail = this.#tail.then(() => this.closeWith(protocolReply(reason)));
  }

  /** Tells a client that waits for it (`Expect: 100-continue`) to send the body. */
  sendContinue(): void {
    this.#socket.write('HTTP/1.1 100 \r\n\r\n');
  }

  /** Gets the answer and sends it; done when it is out or the client has gone. */
  async respond(exchange: Exchange, answer: () => Promise<Reply>): Promise<void> {
    this.#answering = true;
    const reply = await answer();
    if (!this.#socket.destroyed) await this.#send(exchange, reply);
    this.#answering = false;
    if (this.#stopping) this.#socket.destroy();
  }

  /** Sends a last answer and closes, without resetting a client that is still sending. */
  closeWith(reply: Reply): void {
    if (this.#finished || this.#socket.destroyed) return;
    this.#finished = true;
    const timer = setTimeout(() => this.#socket.destroy(), LINGER_MS);
    this.#socket.once('close', () => clearTimeout(timer));
    this.#socket.end(closingReplyText(reply));
    this.#socket.resume();
  }

  /** Closes as soon as the answer under way is out, at once if there is none. */
  stop(): void {
    this.#stopping = true;
    if (this.#answering) return;
    if (this.#finished && !this.#socket.writableFinished) {
      this.#socket.once('finish', () => this.#socket.destroy());
    } else {
      this.#socket.destroy();
    }
  }

  /** Closes now, whatever is under way. */
  destroy(): void {
    this.#socket.destroy();
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

  async #send(exchange: Exchange, reply: Reply): Promise<void> {
    const { request, response } = exchange;
    const last = endsConnection(exchange);
    // Even an answer that asks for headers only (HEAD) must have none that announce a body to simple clients.
    const { body: _body, ...head } = reply;
    const sent: Reply = request.method === 'HEAD' ? head : reply;
    await new Promise<void>((resolve) => {
      response.once('close', resolve);
      response.sendDate = false;
      response.writeHead(sent.status, '', replyHeaders(sent, last ? 'close' : 'keep-alive'));
      response.end(sent.body);
    });
    if (last) this.#finished = true;
  }
}

/**
 * Only a client that asks for it is closed upon, be it by speaking HTTP/1.0 without keep-alive: Node's parser takes no
 * further request from it. One that offers an upgrade counts as such: the parser drops what follows in the same
 * packet, and a client that is told does not wait for it.
 */
function endsConnection({ request, response }: Exchange): boolean {
  return !response.shouldKeepAlive || request.headers.upgrade !== undefined;
}
