import type { Duplex } from 'node:stream';
import { libc, loadLibc } from './libc.ts';
import { allocate, putAddress, type Block } from './memory.ts';
import { callError, EAGAIN, EINTR, EINVAL, errno } from './system-error.ts';
import { descriptorOf, MSG_DONTWAIT, MSG_NOSIGNAL } from './unix-socket.ts';

/*
 * File descriptors over UNIX sockets (SCM_RIGHTS, unix(7)). The kernel passes copies: the sender still owns its descriptor, and
 * the receiver owns the copy and closes it. Received descriptors are close-on-exec.
 */

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const SCM_CREDENTIALS = 2;
/** `struct ucred`: process, user, group */
const CREDENTIALS_BYTES = 12;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** `struct msghdr`: name (16 bytes), vectors and their number, control and its length, flags. */
const MSGHDR = { vectorsAt: 16, countAt: 24, controlAt: 32, controlLengthAt: 40, flagsAt: 48 } as const;
/** `struct cmsghdr`: length (8 bytes), level, type; the next begins at a multiple of 8 (cmsg(3)). */
const CMSGHDR = { bytes: 16, levelAt: 8, typeAt: 12 } as const;
/** `msg_flags`: the kernel could not pass all descriptors */
const MSG_CTRUNC = 0x8;

// parts of one block of memory
const VECTOR_AT = 64;
const CONTROL_AT = 128;

/** Most descriptors of one message (unix(7)). */
export const MOST_DESCRIPTORS = 253;

/** A message that carries descriptors: `struct msghdr` with one vector and its control data. Used again for each message. */
export class DescriptorMessage {
  readonly #block: Block;
  readonly #most: number;
  /** bytes of the control data of a received message: descriptors and credentials */
  readonly #receivedBytes: number;
  /** descriptors of the last message that was received; the caller owns them */
  fds: number[] = [];
  /** descriptors of the last message were lost: they were too many, or this process may not open more */
  isCut = false;
  /** process that sent the last message; undefined unless the socket passes credentials (`passCredentials`) */
  sender: number | undefined;

  /**
   * `most` is the largest number of descriptors of one message; a kernel sends no more than {@link MOST_DESCRIPTORS}. `passesSender`: there
   * is space for the sender as well.
   */
  constructor(most = MOST_DESCRIPTORS, { passesSender = false } = {}) {
    this.#most = most;
    this.#receivedBytes =
      controlBytes(most) + (passesSender ? aligned(CMSGHDR.bytes + CREDENTIALS_BYTES) : 0);
    this.#block = allocate(CONTROL_AT + this.#receivedBytes);
    const { view, address } = this.#block;
    putAddress(view, MSGHDR.vectorsAt, address + VECTOR_AT);
    view.setUint32(MSGHDR.countAt, 1, true);
    putAddress(view, MSGHDR.controlAt, address + CONTROL_AT);
  }

  /** Receives bytes without waiting, with their descriptors. @returns the number of bytes, or the negative errno */
  receive(fd: number, address: number, length: number): number {
    const { view } = this.#block;
    this.#setVector(address, length);
    view.setUint32(MSGHDR.controlLengthAt, this.#receivedBytes, true);
    const count = libc().recvmsg(fd, this.#block.address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (count < 0) return -errno();
    this.#readControl(view.getUint32(MSGHDR.controlLengthAt, true));
    this.isCut = (view.getUint32(MSGHDR.flagsAt, true) & MSG_CTRUNC) !== 0;
    return count;
  }

  /** Sends bytes without waiting, with copies of descriptors. @returns the number of bytes that were sent, or the negative errno */
  send(fd: number, address: number, { length, fds }: { length: number; fds: readonly number[] }): number {
    if (fds.length > this.#most) return -EINVAL;
    const { view } = this.#block;
    this.#setVector(address, length);
    view.setUint32(MSGHDR.controlLengthAt, fds.length === 0 ? 0 : controlBytes(fds.length), true);
    view.setUint32(CONTROL_AT, CMSGHDR.bytes + fds.length * 4, true);
    view.setUint32(CONTROL_AT + CMSGHDR.levelAt, SOL_SOCKET, true);
    view.setUint32(CONTROL_AT + CMSGHDR.typeAt, SCM_RIGHTS, true);
    for (const [i, one] of fds.entries()) view.setInt32(CONTROL_AT + CMSGHDR.bytes + i * 4, one, true);
    const sent = libc().sendmsg(fd, this.#block.address, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno() : sent;
  }

  free(): void {
    this.#block.free();
  }

  #setVector(address: number, length: number): void {
    const { view } = this.#block;
    putAddress(view, VECTOR_AT, address);
    view.setUint32(VECTOR_AT + 8, length, true);
  }

  #readControl(length: number): void {
    const { view } = this.#block;
    this.fds = [];
    this.sender = undefined;
    for (let at = 0; at + CMSGHDR.bytes <= length;) {
      const start = CONTROL_AT + at;
      const bytes = view.getUint32(start, true);
      const data = { from: start + CMSGHDR.bytes, end: start + bytes };
      if (view.getUint32(start + CMSGHDR.levelAt, true) === SOL_SOCKET)
        this.#readPart(view.getUint32(start + CMSGHDR.typeAt, true), data);
      at += Math.max(CMSGHDR.bytes, aligned(bytes));
    }
  }

  #readPart(type: number, { from, end }: { readonly from: number; readonly end: number }): void {
    const { view } = this.#block;
    if (type === SCM_RIGHTS) for (let i = from; i + 4 <= end; i += 4) this.fds.push(view.getInt32(i, true));
    // 0: a process of another PID namespace
    if (type === SCM_CREDENTIALS && from + CREDENTIALS_BYTES <= end)
      this.sender = view.getInt32(from, true) || undefined;
  }
}

function controlBytes(descriptors: number): number {
  return aligned(CMSGHDR.bytes + descriptors * 4);
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

/** Bytes and descriptors of one read of a UNIX socket. */
export interface Received {
  /** of length 0 at the end of the stream */
  readonly bytes: Buffer;
  /** the receiver owns them */
  readonly fds: readonly number[];
  /** descriptors were lost: this process may not open more */
  readonly isCut: boolean;
}

const DATA_BYTES = 65_536;

/**
 * Reads available bytes and their descriptors: at most `most` bytes, 64 KiB by default; undefined where there are none yet.
 * @throws the system's error where the connection is broken
 */
export type Receive = (fd: number, most?: number) => Received | undefined;

/** Sends bytes without waiting, with copies of descriptors. @returns the number of bytes that were sent, or the negative errno */
export type Send = (fd: number, bytes: Buffer, fds: readonly number[]) => number;

/** The main thread's buffers, which all its connections share: a call has copied its bytes when it returns. */
let shared: { readonly message: DescriptorMessage; readonly data: Block } | undefined;

function buffers(): NonNullable<typeof shared> {
  return (shared ??= { message: new DescriptorMessage(), data: allocate(DATA_BYTES) });
}

/** Creates the function that receives descriptors on the main thread. */
export async function createReceive(): Promise<Receive> {
  await loadLibc();
  const { message, data } = buffers();
  const { buffer, byteOffset } = data.view;
  return (fd, most = DATA_BYTES) => {
    const count = message.receive(fd, data.address, Math.min(most, DATA_BYTES));
    if (count === -EAGAIN || count === -EINTR) return undefined;
    if (count < 0) throw callError('recvmsg', -count);
    const bytes = Buffer.from(Buffer.from(buffer, byteOffset, count));
    return { bytes, fds: message.fds, isCut: message.isCut };
  };
}

/** Creates the function that sends descriptors on the main thread. */
export async function createSend(): Promise<Send> {
  const { addressOf } = await loadLibc();
  const { message } = buffers();
  return (fd, bytes, fds) => message.send(fd, addressOf(bytes), { length: bytes.length, fds });
}

/**
 * Sends a message with copies of descriptors over a connected UNIX socket of Node.
 * Rejects where the socket is closed or does not take the whole message.
 */
export async function sendDescriptors(
  stream: Duplex,
  message: Buffer,
  fds: readonly number[],
): Promise<void> {
  const send = await createSend();
  await flushed(stream);
  const sent = send(descriptorOf(stream), message, fds);
  if (sent === message.length) return;
  const reason = sent < 0 ? callError('sendmsg', -sent).code : 'only a part of the message was sent';
  throw new Error(`the descriptors ${fds.join(', ')} could not be sent: ${reason}`);
}

/** Waits until Node has written earlier bytes. */
async function flushed(stream: Duplex): Promise<void> {
  if (stream.writableLength > 0) await new Promise((resolve) => stream.write('', resolve));
}

/**
 * Closes received descriptors; one that is closed twice would close another file. It does not use Node, which prints a warning where a
 * thread closes a descriptor that it has not opened by Node.
 */
export function closeAll(fds: readonly number[]): void {
  for (const fd of fds) libc().close(fd);
}
