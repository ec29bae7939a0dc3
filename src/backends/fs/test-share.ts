// A shared directory in a test: a temporary directory of the host and the file system that serves it.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadLibc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';
import {
  type Attributes,
  type Caller,
  type DirectoryEntry,
  type Entry,
  type Handle,
  type Name,
  type NodeId,
  type Opened,
  type Place,
  ROOT,
} from '../fuse/file-system.ts';
import { Parts } from '../vhost-user/descriptor-chain.ts';
import { openDirectory, type SharedDirectory } from './directory.ts';
import type { DirectoryOptions } from './options.ts';

await loadLibc();
// as in the thread of a back-end: the kernel of the guest applies the umask
process.umask(0);

export const CALLER: Caller = { uid: 0, gid: 0, pid: 1 };

/** Bytes of the buffer for data, and of that for names. */
const DATA_BYTES = 1 << 20;
const NAME_BYTES = 4096;

/** A directory of the host, the file system that serves it, and methods that assert that there is a result. */
export class TestShare {
  /** the directory that contains the shared one */
  readonly outside: string;
  /** the shared directory */
  readonly path: string;
  readonly fs: SharedDirectory;
  readonly #data: Block = allocate(DATA_BYTES);
  /** names, used in turn */
  readonly #names: Block[] = Array.from({ length: 4 }, () => allocate(NAME_BYTES));
  #name = 0;
  readonly #parts = new Parts();

  constructor(options: Omit<DirectoryOptions, 'path'> & { path?: string } = {}) {
    this.outside = mkdtempSync(join(tmpdir(), 'nephos-fs-'));
    this.path = options.path ?? join(this.outside, 'shared');
    if (options.path === undefined) mkdirSync(this.path);
    this.fs = openDirectory({ ...options, path: this.path });
  }

  /** Returns a path of the host. */
  at(...names: string[]): string {
    return join(this.path, ...names);
  }

  /** Returns a name in native memory, valid until the fourth call after this one. */
  name(text: string | Uint8Array): Name {
    const block = this.#names[this.#name++ % this.#names.length];
    assert.ok(block !== undefined);
    const source = Buffer.from(text);
    const bytes = new Uint8Array(block.view.buffer, block.view.byteOffset, source.length + 1);
    bytes.set(source);
    bytes[source.length] = 0;
    return { bytes: bytes.subarray(0, source.length), address: block.address };
  }

  place(parent: NodeId, name: string | Uint8Array): Place {
    return { parent, name: this.name(name) };
  }

  creation(parent: NodeId, name: string, mode: number) {
    return { ...this.place(parent, name), caller: CALLER, mode };
  }

  /** Looks up a path below the shared directory, a component at a time, and drops the references to the directories on the way. */
  lookup(path: string): Entry {
    const names = path.split('/');
    let parent = ROOT;
    let entry: Entry | undefined;
    for (const name of names) {
      const next = result(this.fs.lookup(CALLER, this.place(parent, name)));
      if (entry !== undefined) this.fs.forget(entry.node, 1);
      entry = next;
      parent = next.node;
    }
    assert.ok(entry !== undefined);
    return entry;
  }

  getattr(node: NodeId, handle?: Handle): Attributes {
    return result(this.fs.getattr(node, handle));
  }

  open(node: NodeId, flags = 0): Handle {
    return result(this.fs.open(CALLER, node, flags)).handle;
  }

  create(name: string, flags: number, mode = 0o100_644, parent = ROOT): Entry & Opened {
    return result(this.fs.create(this.creation(parent, name, mode), flags));
  }

  /** Reads text. */
  read(node: NodeId, handle: Handle, offset = 0, length = DATA_BYTES): string {
    this.#parts.clear();
    // two buffers, so that a vector of more than one is used
    this.#parts.add(this.#data.address, 100);
    this.#parts.add(this.#data.address + 100, DATA_BYTES - 100);
    const count = this.fs.read({ node, handle, offset, length }, this.#parts);
    assert.ok(typeof count === 'number' && count >= 0, 'read failed');
    return Buffer.from(this.#data.view.buffer, this.#data.view.byteOffset, count).toString();
  }

  /** Writes text. @returns the number of bytes, or -errno */
  write(node: NodeId, handle: Handle, text: string, offset = 0): number {
    const length = Buffer.from(this.#data.view.buffer, this.#data.view.byteOffset).write(text);
    this.#parts.clear();
    this.#parts.add(this.#data.address, length);
    const range = { node, handle, offset, length, isFromCache: false, killsPrivileges: false };
    const count = this.fs.write(CALLER, range, this.#parts);
    assert.ok(typeof count === 'number');
    return count;
  }

  /** Reads an open directory in requests of a size. */
  readdir(node: NodeId, handle: Handle, { perRequest = 100, plus = false } = {}) {
    const found: { entry: DirectoryEntry & { text: string }; found: Entry | undefined }[] = [];
    for (let offset = 0n, isEnd = false; !isEnd;) {
      let left = perRequest;
      const error = this.fs.readdir(
        CALLER,
        { node, handle, offset },
        {
          plus,
          fits: () => left > 0,
          add: (entry, inode) => {
            left--;
            offset = entry.next;
            const name = Uint8Array.from(entry.name);
            found.push({ entry: { ...entry, name, text: Buffer.from(name).toString() }, found: inode });
          },
        },
      );
      assert.equal(error, 0);
      isEnd = left === perRequest;
    }
    return found;
  }

  [Symbol.dispose](): void {
    this.fs[Symbol.dispose]();
    this.#data.free();
    for (const block of this.#names) block.free();
    this.#parts.free();
    rmSync(this.outside, { recursive: true, force: true });
  }
}

/** Opens a shared directory for a test. */
export function share(options?: Omit<DirectoryOptions, 'path'>): TestShare {
  return new TestShare(options);
}

/** Returns a result that is no error. */
export function result<T extends object>(answer: T | number | PromiseLike<T | number>): T {
  assert.ok(
    typeof answer === 'object' && !('then' in answer),
    typeof answer === 'number' ? `errno ${answer}` : 'a promise',
  );
  return answer;
}
