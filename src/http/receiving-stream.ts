import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { descriptorLimit } from '../util/descriptor-limit.ts';
import type { Readiness, Watch } from '../native/readiness.ts';
import { closeAll, type Receive, type Received } from '../native/descriptor-passing.ts';
import { descriptorOf } from '../native/unix-socket.ts';

/**
 * Time that a connection polls for more bytes before it waits with epoll, in milliseconds: a client that sends its next request at
 * once is answered without the way through the waiting thread, which takes longer than the reply itself.
 */
const POLL_MS = 0.06;

/** Most connections that poll at the same time: with more of them, one wait reports several. */
const POLLING_MAX = 2;
let polling = 0;

/** Most descriptors that one connection holds before its request is whole: the queues of all networks of a request. */
const HELD_MAX = 256;

/** Most descriptors that all connections hold together: an eighth of the limit of this process. */
const heldByAllMax = (): number => Math.min(4 * HELD_MAX, descriptorLimit() / 8);
let held = 0;

const TOO_MANY = 'Too many file descriptors came with the request';
const CUT = 'File descriptors that came with the request were lost: the VMM cannot have more open';

/**
 * An accepted connection that keeps the descriptors which arrive with its bytes: reads of Node would close them, so Node only
 * writes. Each batch belongs to the next request whose head becomes whole. Event `surplus`, with the reason: descriptors were
 * closed or lost.
 */
export class ReceivingStream extends Duplex {
  readonly #socket: Socket;
  readonly #fd: number;
  readonly #receive: Receive;
  readonly #watch: Watch;
  readonly #batches: (readonly number[])[] = [];
  /** number of descriptors in the batches */
  #held = 0;
  /** the client has closed its sending side */
  #hasEnded = false;
  #closesOnHangup = false;

  /** `socket` must not have begun to read. */
  constructor(socket: Socket, readiness: Readiness, receive: Receive) {
    super({ allowHalfOpen: true, autoDestroy: true });
    this.#socket = socket;
    this.#fd = descriptorOf(socket);
    this.#receive = receive;
    this.#watch = readiness.watch(this.#fd, () => this.#onReady());
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  /** Returns the oldest batch of descriptors, which the caller closes. */
  takeDescriptors(): readonly number[] {
    const batch = this.#batches.shift() ?? [];
    this.#count(-batch.length);
    return batch;
  }

  /**
   * Destroys the connection as soon as the client has closed it completely. Otherwise a client that has closed its sending side is noticed
   * by a failed write only.
   */
  closeOnHangup(): void {
    this.#closesOnHangup = true;
    if (this.#hasEnded && this.#canRead()) this.#watch.armHangup();
  }

  override _read(): void {
    if (polling >= POLLING_MAX) return void setImmediate(() => this.#readOrArm());
    polling += 1;
    this.#poll(performance.now() + POLL_MS);
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, encoding, done);
  }

  /** One system call for all parts of a chunk. */
  override _writev(
    parts: readonly { chunk: Buffer; encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    this.#socket.cork();
    for (const [i, { chunk, encoding }] of parts.entries())
      this.#socket.write(chunk, encoding, i === parts.length - 1 ? done : undefined);
    this.#socket.uncork();
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (this.#isOpen()) this.#watch.remove();
    else this.#watch.forget();
    for (const batch of this.#batches.splice(0)) closeAll(batch);
    this.#count(-this.#held);
    this.#socket.destroy();
    done(error);
  }

  /** A failed write closes the descriptor before it is reported: from then on its number may be another file's. */
  #isOpen(): boolean {
    return !this.#socket.destroyed;
  }

  /** Reads as soon as there are bytes; waits for the watch after `end`. */
  #poll(end: number): void {
    setImmediate(() => {
      const isLate = performance.now() >= end;
      if (!isLate && this.#canRead() && !this.#read()) return this.#poll(end);
      polling -= 1;
      if (isLate) this.#readOrArm();
    });
  }

  #onReady(): void {
    if (this.#hasEnded) this.destroy();
    else this.#readOrArm();
  }

  #readOrArm(): void {
    if (!this.#read() && this.#canRead()) this.#watch.arm();
  }

  #canRead(): boolean {
    return !this.destroyed && this.#isOpen();
  }

  /** Keeps descriptors for their request, up to the limits. */
  #hold({ fds, isCut }: Received): void {
    const mayHold = this.#held + fds.length <= HELD_MAX && held + fds.length <= heldByAllMax();
    if (isCut || !mayHold) this.emit('surplus', isCut ? CUT : TOO_MANY);
    if (fds.length === 0) return;
    if (!mayHold) return closeAll(fds);
    this.#batches.push(fds);
    this.#count(fds.length);
  }

  #count(change: number): void {
    this.#held += change;
    held += change;
  }

  /** @returns false where there are no bytes to read */
  #read(): boolean {
    if (!this.#canRead()) return false;
    try {
      const received = this.#receive(this.#fd);
      if (received === undefined) return false;
      this.#hold(received);
      if (received.bytes.length === 0) this.#end();
      else this.push(received.bytes);
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error), { cause: error }));
    }
    return true;
  }

  #end(): void {
    this.#hasEnded = true;
    this.push(null);
    if (this.#closesOnHangup) this.#watch.armHangup();
  }
}
