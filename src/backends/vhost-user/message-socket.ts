import {
  allocate,
  closeAll,
  EAGAIN,
  errno,
  MSG_CMSG_CLOEXEC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  putVector,
  recvmsg,
  send,
  systemError,
  type Block,
} from '../../native/libc.ts';
import { decodeHeader, HEADER_BYTES, MAX_PAYLOAD_BYTES, ProtocolError, type Header } from './message.ts';

/** A message as it arrived; its descriptors belong to whoever takes it. */
export interface Message extends Header {
  readonly payload: DataView;
  readonly fds: readonly number[];
}

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
/** Bytes of `struct msghdr` and of `struct cmsghdr`. */
const MSGHDR_BYTES = 56;
const CMSGHDR_BYTES = 16;
/** Room for more descriptors than a message may carry. */
const CONTROL_BYTES = CMSGHDR_BYTES + 4 * 32;
/** `msg_flags`: descriptors did not fit and were dropped. */
const MSG_CTRUNC = 8;

// where the parts are in one block of memory
const VECTOR_AT = MSGHDR_BYTES;
const CONTROL_AT = 128;
const BYTES_AT = 512;

/** One connection of a front-end: bytes and descriptors become messages. The descriptor stays the caller's to close. */
export class MessageSocket {
  readonly #fd: number;
  readonly #block: Block = allocate(BYTES_AT + HEADER_BYTES + MAX_PAYLOAD_BYTES);
  #have = 0;
  #header: Header | undefined;
  #fds: number[] = [];

  constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * The next message that has arrived as a whole, without waiting.
   * @returns 'nothing' where there is none, 'end' where there will be none
   */
  receive(): Message | 'nothing' | 'end' {
    for (;;) {
      const header = this.#header;
      if (header !== undefined && this.#have === HEADER_BYTES + header.size) return this.#complete(header);
      const count = this.#read(HEADER_BYTES + (header?.size ?? 0) - this.#have);
      if (count <= 0) return count === 0 ? 'end' : 'nothing';
      this.#have += count;
      if (header === undefined && this.#have === HEADER_BYTES)
        this.#header = decodeHeader(this.#bytes(0, HEADER_BYTES));
    }
  }

  /** Sends a reply at once; the front-end waits for it, so there is room. */
  reply(bytes: Uint8Array): void {
    const at = this.#block.address + BYTES_AT;
    for (const [i, byte] of bytes.entries()) this.#block.view.setUint8(BYTES_AT + i, byte);
    const sent = send(this.#fd, at, bytes.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) throw systemError('send');
    if (sent !== bytes.length) throw new ProtocolError('the front-end does not read its replies');
  }

  [Symbol.dispose](): void {
    closeAll(this.#fds);
    this.#fds = [];
    this.#block.free();
  }

  #complete(header: Header): Message {
    // a copy: the block is used for the reply
    const payload = new DataView(
      this.#block.view.buffer.slice(
        this.#block.view.byteOffset + BYTES_AT + HEADER_BYTES,
        this.#block.view.byteOffset + BYTES_AT + HEADER_BYTES + header.size,
      ),
    );
    const message = { ...header, payload, fds: this.#fds };
    this.#have = 0;
    this.#header = undefined;
    this.#fds = [];
    return message;
  }

  /** Never reads beyond a message, so that descriptors are those of the message at hand. @returns -1 for nothing yet */
  #read(length: number): number {
    const { address, view } = this.#block;
    for (let at = 0; at < CONTROL_AT; at += 4) view.setUint32(at, 0, true);
    putVector(this.#bytes(VECTOR_AT - BYTES_AT, 16), 0, address + BYTES_AT + this.#have, length);
    setPointer(view, 16, address + VECTOR_AT);
    view.setUint32(24, 1, true);
    setPointer(view, 32, address + CONTROL_AT);
    view.setUint32(40, CONTROL_BYTES, true);
    const count = recvmsg(this.#fd, address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (count < 0) {
      if (errno() === EAGAIN) return -1;
      throw systemError('recvmsg');
    }
    this.#fds.push(...this.#receivedFds());
    if ((view.getUint32(48, true) & MSG_CTRUNC) !== 0)
      throw new ProtocolError('too many descriptors in a message');
    return count;
  }

  #receivedFds(): number[] {
    const { view } = this.#block;
    const control = view.getUint32(40, true);
    if (control < CMSGHDR_BYTES) return [];
    const length = view.getUint32(CONTROL_AT, true);
    const isRights =
      view.getUint32(CONTROL_AT + 8, true) === SOL_SOCKET &&
      view.getUint32(CONTROL_AT + 12, true) === SCM_RIGHTS;
    if (!isRights) return [];
    return Array.from({ length: (length - CMSGHDR_BYTES) / 4 }, (_, i) =>
      view.getInt32(CONTROL_AT + CMSGHDR_BYTES + i * 4, true),
    );
  }

  #bytes(from: number, length: number): DataView {
    return new DataView(this.#block.view.buffer, this.#block.view.byteOffset + BYTES_AT + from, length);
  }
}

function setPointer(view: DataView, at: number, address: number): void {
  view.setUint32(at, address >>> 0, true);
  view.setUint32(at + 4, Math.floor(address / 2 ** 32), true);
}
