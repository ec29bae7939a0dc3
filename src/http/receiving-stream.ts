import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { descriptorLimit } from '../util/descriptor-limit.ts';
import type { Readiness, Watch } from '../native/readiness.ts';
import { closeAll, type Receive, type Received } from '../native/descriptor-passing.ts';
import { descriptorOf } from '../native/unix-socket.ts';

/**
 * How long more bytes are looked for before the kernel is asked to tell of them, in milliseconds: a client that asks again
 * at once is answered without the way through the thread that waits, which takes longer than the answer itself.
 */
const LOOK_MS = 0.06;

/** Connections that look at the same time: with more of them one wait tells of several. */
const MOST_LOOKING = 2;
let looking = 0;

/** Descriptors that one connection may send before its request is whole: queues of the networks of one request. */
const HELD_MAX = 256;

/** An eighth of what this process may have open, for all connections together. */
const heldByAllMax = (): number => Math.min(4 * HELD_MAX, descriptorLimit() / 8);
let held = 0;

const TOO_MANY = 'Too many file descriptors came with the request';
const CUT = 'File descriptors that came with the request were lost: the VMM cannot have more open';

/**
 * An accepted connection that keeps the descriptors which come with its bytes: Node's own reading would close them. Node writes, we
 * read. Each batch is the next request's whose head is whole. Event `surplus`, with the reason: descriptors were closed or lost.
 */
export class ReceivingStream extends Duplex {
  readonly #socket: Socket;
  readonly #fd: number;
  readonly #receive: Receive;
  readonly #watch: Watch;
  readonly #batches: (readonly number[])[] = [];
  /** how many descriptors are in the batches */
  #held = 0;

  /** `socket` must not have begun to read. */
  constructor(socket: Socket, readiness: Readiness, receive: Receive) {
    super({ allowHalfOpen: true, autoDestroy: true });
    this.#socket = socket;
    this.#fd = descriptorOf(socket);
    this.#receive = receive;
    this.#watch = readiness.watch(this.#fd, () => this.#readOrArm());
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  /** The oldest descriptors that nobody took; whoever takes them closes them. */
  takeDescriptors(): readonly number[] {
    const batch = this.#batches.shift() ?? [];
    this.#count(-batch.length);
    return batch;
  }

  override _read(): void {
    if (looking >= MOST_LOOKING) return void setImmediate(() => this.#readOrArm());
    looking += 1;
    this.#look(performance.now() + LOOK_MS);
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, encoding, done);
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

  /** A failed write closes the descriptor before it is told: from then on its number may be another's. */
  #isOpen(): boolean {
    return !this.#socket.destroyed;
  }

  /** Reads as soon as there is something; after `end` the watch tells when. */
  #look(end: number): void {
    setImmediate(() => {
      const isLate = performance.now() >= end;
      if (!isLate && this.#canRead() && !this.#read()) return this.#look(end);
      looking -= 1;
      if (isLate) this.#readOrArm();
    });
  }

  #readOrArm(): void {
    if (!this.#read() && this.#canRead()) this.#watch.arm();
  }

  #canRead(): boolean {
    return !this.destroyed && this.#isOpen();
  }

  /** Keeps descriptors for their request, as far as there may be as many. */
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

  /** @returns false where there is nothing to be read */
  #read(): boolean {
    if (!this.#canRead()) return false;
    try {
      const received = this.#receive(this.#fd);
      if (received === undefined) return false;
      this.#hold(received);
      this.push(received.bytes.length === 0 ? null : received.bytes);
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
    }
    return true;
  }
}
