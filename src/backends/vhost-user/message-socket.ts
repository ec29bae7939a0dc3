import { closeAll, DescriptorMessage } from '../../native/descriptor-passing.ts';
import { libc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';
import { callError, EAGAIN } from '../../native/system-error.ts';
import { MSG_DONTWAIT, MSG_NOSIGNAL } from '../../native/unix-socket.ts';
import { decodeHeader, HEADER_BYTES, MAX_PAYLOAD_BYTES, ProtocolError, type Header } from './message.ts';

/** A received message; its descriptors belong to the function that takes it. */
export interface Message extends Header {
  readonly payload: DataView;
  readonly fds: readonly number[];
  /** process that sent the whole message; undefined where the socket does not pass it */
  readonly sender: number | undefined;
}

/** Most descriptors of one read; no message may carry as many. */
const MAX_DESCRIPTORS = 32;

/** One connection of a front-end, read and written in whole messages. The caller closes its descriptor. */
export class MessageSocket {
  readonly #fd: number;
  readonly #block: Block = allocate(HEADER_BYTES + MAX_PAYLOAD_BYTES);
  readonly #received = new DescriptorMessage(MAX_DESCRIPTORS, { passesSender: true });
  #have = 0;
  #header: Header | undefined;
  #fds: number[] = [];
  #sender: number | undefined;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * Returns the next message that has arrived as a whole, without waiting.
   * @returns 'nothing' where there is none yet, 'end' where the connection has ended
   */
  receive(): Message | 'nothing' | 'end' {
    for (;;) {
      const header = this.#header;
      if (header !== undefined && this.#have === HEADER_BYTES + header.size) return this.#complete(header);
      const count = this.#read(HEADER_BYTES + (header?.size ?? 0) - this.#have);
      if (count <= 0) return count === 0 ? 'end' : 'nothing';
      this.#have += count;
      if (header === undefined && this.#have === HEADER_BYTES) this.#header = decodeHeader(this.#block.view);
    }
  }

  /** Sends a reply at once: the front-end waits for it, so the socket has space. */
  reply(bytes: Uint8Array): void {
    const { address, view } = this.#block;
    for (const [i, byte] of bytes.entries()) view.setUint8(i, byte);
    const sent = libc().send(this.#fd, address, bytes.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) throw callError('send');
    if (sent !== bytes.length) throw new ProtocolError('the front-end does not read its replies');
  }

  [Symbol.dispose](): void {
    closeAll(this.#fds);
    this.#fds = [];
    this.#received.free();
    this.#block.free();
  }

  #complete(header: Header): Message {
    const { buffer, byteOffset } = this.#block.view;
    // a copy: the block is used for the reply
    const start = byteOffset + HEADER_BYTES;
    const payload = new DataView(buffer.slice(start, start + header.size));
    const message = { ...header, payload, fds: this.#fds, sender: this.#sender };
    this.#have = 0;
    this.#header = undefined;
    this.#fds = [];
    return message;
  }

  /** Never reads beyond a message, so that descriptors belong to this message. @returns -1 where there are no bytes yet */
  #read(length: number): number {
    const count = this.#received.receive(this.#fd, this.#block.address + this.#have, length);
    if (count === -EAGAIN) return -1;
    if (count < 0) throw callError('recvmsg', -count);
    this.#fds.push(...this.#received.fds);
    const { sender } = this.#received;
    if (this.#have > 0 && sender !== this.#sender) throw new ProtocolError('a message of several processes');
    this.#sender = sender;
    if (this.#received.isCut) throw new ProtocolError('too many descriptors in a message');
    return count;
  }
}
