import { putNumber } from '../../native/memory.ts';
import type { CachePolicy } from './cache-policy.ts';
import type { DirectoryEntry, DirectorySink, Entry } from './file-system.ts';
import { encodeEntry } from './reply.ts';
import type { Request } from './request.ts';
import { Dirent, EntryOut } from './structures.ts';

/** The reply to READDIR or READDIRPLUS while a file system adds its entries. */
export class DirectoryReply implements DirectorySink {
  readonly plus: boolean;
  readonly #request: Request;
  readonly #policy: CachePolicy;
  readonly #limit: number;
  #bytes = 0;
  #isFull = false;

  /** `limit` is the largest reply, in `bytes` */
  constructor(request: Request, policy: CachePolicy, { limit, plus }: { limit: number; plus: boolean }) {
    this.#request = request;
    this.#policy = policy;
    this.#limit = Math.min(limit, request.output.length);
    this.plus = plus;
  }

  /** bytes of all entries */
  get bytes(): number {
    return this.#bytes;
  }

  /** not even the first entry fits */
  get isTooSmall(): boolean {
    return this.#isFull && this.#bytes === 0;
  }

  fits(nameBytes: number): boolean {
    const fits = this.#bytes + this.#sizeOf(nameBytes) <= this.#limit;
    if (!fits) this.#isFull = true;
    return fits;
  }

  /** An entry that does not fit is not added: a fault of the file system must not write beyond the reply. */
  add({ name, inode, type, next }: DirectoryEntry, found?: Entry): void {
    if (!this.fits(name.length)) return;
    const { output, outputView: view } = this.#request;
    const size = this.#sizeOf(name.length);
    let at = this.#bytes;
    if (this.plus) {
      if (found === undefined) output.fill(0, at, at + EntryOut.bytes);
      else encodeEntry(view, at, found, this.#policy);
      at += EntryOut.bytes;
    }
    view.setBigUint64(at + Dirent.inode, inode, true);
    view.setBigUint64(at + Dirent.offset, next, true);
    putNumber(view, at + Dirent.nameLength, name.length);
    view.setUint32(at + Dirent.type, type, true);
    output.set(name, at + Dirent.bytes);
    output.fill(0, at + Dirent.bytes + name.length, this.#bytes + size);
    this.#bytes += size;
  }

  #sizeOf(nameBytes: number): number {
    const bytes = (this.plus ? EntryOut.bytes : 0) + Dirent.bytes + nameBytes;
    return Math.ceil(bytes / 8) * 8;
  }
}
