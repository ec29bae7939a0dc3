import { fstatSync } from 'node:fs';
import { closeAll } from '../../native/descriptor-passing.ts';
import { signalEventfd } from '../../native/epoll.ts';
import { mapShared, unmap, viewOf } from '../../native/memory.ts';
import { ProtocolError, type LogArea } from './message.ts';

/** Bytes of guest memory that one bit stands for (VHOST_LOG_PAGE). */
const PAGE_BYTES = 4096;

/** Largest log: one for 32 TiB of guest memory. */
const MAX_LOG_BYTES = 2 ** 30;

/** A mapped log. */
interface Mapping {
  readonly address: number;
  readonly bytes: number;
  readonly bits: Uint8Array;
}

/**
 * The dirty log of a live migration (vhost-user specification, "Migration"): a bitmap in memory shared with the front-end, one bit for
 * each page of guest memory that the back-end has written to since the front-end has sent the page. Marking costs nothing while it is off.
 */
export class DirtyLog {
  #mapping: Mapping | undefined;
  /** the bitmap, while writes must be marked */
  #bits: Uint8Array | undefined;
  #isOn = false;
  #isModified = false;
  #modified = -1;

  /** writes to guest memory must be marked */
  get isActive(): boolean {
    return this.#bits !== undefined;
  }

  /** Switches the log on or off, as the front-end negotiates VHOST_F_LOG_ALL; off also unmaps it. */
  set isOn(isOn: boolean) {
    if (this.#isOn && !isOn) this.#unmap();
    this.#isOn = isOn;
    this.#bits = isOn ? this.#mapping?.bits : undefined;
  }

  /** Maps the bitmap instead of the former one; the caller closes the descriptor. @throws ProtocolError where it is invalid */
  map(fd: number, { size, offset }: LogArea): void {
    const bytes = offset + size;
    // an access beyond the file's end raises SIGBUS
    if (size === 0 || size > MAX_LOG_BYTES || bytes > fstatSync(fd).size)
      throw new ProtocolError(`dirty log of ${size} bytes at ${offset} of its file`);
    const address = mapShared(fd, bytes);
    this.#unmap();
    this.#mapping = { address, bytes, bits: bytesOf(viewOf(address + offset, size)) };
    if (this.#isOn) this.#bits = this.#mapping.bits;
  }

  /** Takes over the eventfd that is signalled when the log was modified; -1 for none. */
  setModified(fd: number): void {
    closeAll(this.#modified < 0 ? [] : [this.#modified]);
    this.#modified = fd;
  }

  /**
   * Marks the pages of a range of guest memory. To be called after the write: the front-end clears the bit before it reads the page.
   * Pages beyond the log are no guest memory that the front-end sends.
   */
  mark(address: number, length: number): void {
    const bits = this.#bits;
    if (bits === undefined || length === 0) return;
    const last = Math.floor((address + length - 1) / PAGE_BYTES);
    for (let page = Math.floor(address / PAGE_BYTES); page <= last;) {
      const byte = Math.floor(page / 8);
      if (byte >= bits.length) return;
      const [from, to] = [page - byte * 8, Math.min(last - byte * 8, 7)];
      // always a locked instruction, also where the bit is set: it orders the write before it for the front-end
      Atomics.or(bits, byte, (0xff >> (7 - to)) & (0xff << from));
      page = (byte + 1) * 8;
    }
    this.#isModified = true;
  }

  /** Signals the front-end where pages were marked since the last call. */
  signal(): void {
    if (this.#isModified && this.#modified >= 0) signalEventfd(this.#modified);
    this.#isModified = false;
  }

  [Symbol.dispose](): void {
    this.isOn = false;
    this.#unmap();
    this.setModified(-1);
  }

  #unmap(): void {
    this.#bits = undefined;
    if (this.#mapping !== undefined) unmap(this.#mapping.address, this.#mapping.bytes);
    this.#mapping = undefined;
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: DataView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
