import { allocate, type Block } from '../../native/memory.ts';
import { Chain, Parts } from '../vhost-user/descriptor-chain.ts';
import type { OpenRequest } from './device-state.ts';
import { E2BIG, EINVAL } from './errors.ts';
import type { Errno, Name } from './file-system.ts';
import { checkName, NAME_MAX, type NameKind } from './names.ts';
import { Opcode } from './opcodes.ts';
import { InHeader, OutHeader, SetxattrIn, WriteIn } from './structures.ts';

/** Largest value of an extended attribute in `bytes` (XATTR_SIZE_MAX); also the largest reply to READDIR. */
export const LARGEST_VALUE = 65_536;

/** Bytes of the largest request but WRITE: SETXATTR. Longer ones fail with E2BIG. */
const INPUT_BYTES = InHeader.bytes + SetxattrIn.bytes + NAME_MAX + 1 + LARGEST_VALUE;

const INVALID_STATE = 'an open request in the state of the file system device is invalid';

/**
 * A request of the guest with its buffers; used again for the next one. Its header and arguments are a copy: the guest cannot change
 * them between check and use. Offsets of arguments count from the end of the header.
 */
export class Request {
  readonly chain = new Chain();
  /** the process of the guest, see {@link Caller} */
  readonly caller = { uid: 0, gid: 0, pid: 0 };
  /** number of the queue that the request is from */
  queue = 0;
  opcode = 0;
  /** inode that the request is for; -1 where the number is larger than 2^53 - 1 */
  node = 0;
  /** bytes of the reply behind its header are in the guest's buffers already (READ) */
  isFilled = false;
  /** bytes of data of a WRITE */
  data = 0;
  /** bytes of the guest's buffers for the reply, without its header; -1 where they cannot even hold the header */
  space = -1;
  /** memory for the reply without its header: {@link LARGEST_VALUE} bytes, with any content */
  readonly output: Uint8Array;
  /** the same memory */
  readonly outputView: DataView;
  readonly #input: Block = allocate(INPUT_BYTES);
  readonly #inputBytes: Uint8Array;
  readonly #output: Block = allocate(OutHeader.bytes + LARGEST_VALUE);
  /** the part of the guest's buffers that the header of the reply is copied to */
  readonly #head = new Parts();
  #names: readonly Name[] = [];
  #length = 0;
  #inputLength = 0;
  #end = 0;

  constructor() {
    this.#inputBytes = bytesOf(this.#input);
    this.output = bytesOf(this.#output).subarray(OutHeader.bytes);
    this.outputView = new DataView(this.output.buffer, this.output.byteOffset, LARGEST_VALUE);
  }

  /** Reads the popped chain. @returns 0, the error with which the request fails, or 'invalid' where it has no header */
  read(): Errno | 'invalid' {
    const { readable, writable } = this.chain;
    this.#head.clear();
    this.isFilled = false;
    this.data = 0;
    const { bytes } = readable;
    writable.move(OutHeader.bytes, this.#head);
    this.space = this.#head.bytes < OutHeader.bytes ? -1 : writable.bytes;
    if (bytes < InHeader.bytes) return 'invalid';
    readable.copyOut(this.#input.address, InHeader.bytes);
    readable.skip(InHeader.bytes);
    this.#readHeader();
    this.#length = readable.bytes;
    if (this.#input.view.getUint32(InHeader.length, true) !== bytes) return EINVAL;
    return this.#readArguments();
  }

  /** Takes the buffers of the chain again, for a request that was read before the device was stopped. */
  readBuffers(): void {
    const { readable, writable } = this.chain;
    this.#head.clear();
    this.isFilled = false;
    writable.move(OutHeader.bytes, this.#head);
    writable.limit(Math.max(0, this.space));
    // the guest's buffers have the data of a WRITE until it is finished
    readable.skip(this.#inputLength);
  }

  /** the copied header and arguments */
  get input(): Uint8Array {
    return this.#inputBytes.subarray(0, this.#inputLength);
  }

  /** Takes over a request of another device, without its buffers. @throws where it is invalid */
  restore({ queue, head, space, input, output }: OpenRequest): void {
    if (input.length < InHeader.bytes || input.length > INPUT_BYTES || output.length > this.output.length)
      throw new Error(INVALID_STATE);
    this.chain.reset(head);
    this.#head.clear();
    this.queue = queue;
    this.space = space;
    this.isFilled = false;
    this.#inputBytes.set(input);
    this.#inputLength = input.length;
    this.output.set(output);
    this.#readHeader();
    this.#length = this.#input.view.getUint32(InHeader.length, true) - InHeader.bytes;
    const copied = this.opcode === Opcode.Write ? Math.min(this.#length, WriteIn.bytes) : this.#length;
    if (copied !== input.length - InHeader.bytes) throw new Error(INVALID_STATE);
  }

  /** bytes of the arguments */
  get length(): number {
    return this.#length;
  }

  /** Limits the guest's buffers for the reply, without its header. */
  limitSpace(bytes: number): void {
    this.chain.writable.limit(bytes);
    this.space = Math.min(this.space, bytes);
  }

  u32(at: number): number {
    return this.#input.view.getUint32(InHeader.bytes + at, true);
  }

  /** Reads a 64-bit number. @returns -1 where it is larger than 2^53 - 1 */
  u64(at: number): number {
    return readU64(this.#input.view, InHeader.bytes + at);
  }

  /** Reads a signed 64-bit number, to the precision of a `number`. */
  i64(at: number): number {
    const { view } = this.#input;
    const from = InHeader.bytes + at;
    return view.getUint32(from, true) + view.getInt32(from + 4, true) * 2 ** 32;
  }

  /** Reads a 64-bit number of any size. */
  bigint(at: number): bigint {
    return this.#input.view.getBigUint64(InHeader.bytes + at, true);
  }

  /** Reads the strings from an offset on, which must end the arguments unless `hasTail`. @returns 0, or the error of the request */
  parseNames(at: number, kinds: readonly NameKind[], hasTail: boolean): Errno {
    let from = InHeader.bytes + at;
    const end = InHeader.bytes + this.#length;
    const names: Name[] = [];
    for (const kind of kinds) {
      const nul = this.#inputBytes.indexOf(0, from);
      // behind the arguments are those of earlier requests
      if (nul < 0 || nul >= end) return EINVAL;
      const name = { bytes: this.#inputBytes.subarray(from, nul), address: this.#input.address + from };
      const error = checkName(name, kind);
      if (error !== 0) return error;
      names.push(name);
      from = nul + 1;
    }
    this.#names = names;
    this.#end = from;
    return from === end || hasTail ? 0 : EINVAL;
  }

  /** Returns a name that `parseNames` has checked. */
  name(index = 0): Name {
    const name = this.#names[index];
    if (name === undefined) throw new Error(`the request has no name ${index}`);
    return name;
  }

  /** arguments behind the names */
  get tail(): Uint8Array {
    return this.#inputBytes.subarray(this.#end, InHeader.bytes + this.#length);
  }

  /**
   * Writes the reply: `result` bytes of `output`, or of the buffers themselves where `isFilled` is set; or a negative error.
   * @returns number of bytes in the guest's buffers; 0 where they have no space for a header
   */
  reply(result: number): number {
    if (this.#head.bytes < OutHeader.bytes) return 0;
    const { view, address } = this.#output;
    const payload = Math.max(0, result);
    const total = OutHeader.bytes + payload;
    view.setUint32(OutHeader.length, total, true);
    view.setInt32(OutHeader.error, Math.min(0, result), true);
    const { view: input } = this.#input;
    view.setUint32(OutHeader.unique, input.getUint32(InHeader.unique, true), true);
    view.setUint32(OutHeader.unique + 4, input.getUint32(InHeader.unique + 4, true), true);
    this.#head.copyIn(address, OutHeader.bytes);
    if (payload > 0 && !this.isFilled) this.chain.writable.copyIn(address + OutHeader.bytes, payload);
    return total;
  }

  /** Drops the buffers: the device has stopped, and their memory must not be accessed any more. */
  dropBuffers(): void {
    this.chain.reset(this.chain.head);
    this.#head.clear();
  }

  free(): void {
    this.chain.free();
    this.#head.free();
    this.#input.free();
    this.#output.free();
  }

  /** Copies the arguments; data of a WRITE stays where it is. */
  #readArguments(): Errno {
    const { readable } = this.chain;
    const isWrite = this.opcode === Opcode.Write;
    const copied = isWrite ? Math.min(this.#length, WriteIn.bytes) : this.#length;
    if (InHeader.bytes + copied > INPUT_BYTES) return E2BIG;
    readable.copyOut(this.#input.address + InHeader.bytes, copied);
    readable.skip(copied);
    this.data = readable.bytes;
    this.#inputLength = InHeader.bytes + copied;
    return 0;
  }

  #readHeader(): void {
    const { view } = this.#input;
    this.opcode = view.getUint32(InHeader.opcode, true);
    this.node = readU64(view, InHeader.node);
    this.caller.uid = view.getUint32(InHeader.uid, true);
    this.caller.gid = view.getUint32(InHeader.gid, true);
    this.caller.pid = view.getUint32(InHeader.pid, true);
  }
}

function bytesOf({ view }: Block): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function readU64(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true);
  return high > 0x1f_ffff ? -1 : view.getUint32(at, true) + high * 2 ** 32;
}
