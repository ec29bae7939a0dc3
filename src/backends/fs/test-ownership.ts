// A temporary directory of the host, and files in it that are made through an Ownership as the operations of a share do.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadLibc } from '../../native/libc.ts';
import { AT_FDCWD } from '../../native/file-calls.ts';
import { StatusBuffer } from '../../native/file-status.ts';
import { O_CLOEXEC, O_NOFOLLOW, O_PATH } from '../../native/open-flags.ts';
import { errno } from '../../native/system-error.ts';
import type { Attributes, Done, Name } from '../fuse/file-system.ts';
import { DescriptorPath } from './descriptor-path.ts';
import { orError } from './errors.ts';
import { S_IFDIR, S_IFLNK, typeOf } from './file-types.ts';
import type { Ownership } from './ownership.ts';

const libc = await loadLibc();

/** Any user of the host that is not root. */
export const USER = 12_345;

/** Fails where this process is not root. */
export function assertRoot(): void {
  assert.equal(process.getuid?.(), 0, 'this test needs root: it acts as several users');
}

/** Acts as an ordinary user, and as root again after it. */
export function asUser(act: () => void): void {
  process.setegid?.(USER);
  process.seteuid?.(USER);
  try {
    act();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
}

/** A file of the guest that is made. */
export interface File {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly device?: number;
}

export class TestFiles {
  readonly folder = mkdtempSync(join(tmpdir(), 'nephos-own-'));
  readonly path = new DescriptorPath();
  readonly #status = new StatusBuffer();
  readonly #kept: Buffer[] = [];
  #isMounted = false;

  /** The directory belongs to `owner`; it is of a file system of its own where `type` is one. */
  constructor(owner: number, type?: 'tmpfs' | 'ramfs') {
    assertRoot();
    if (type !== undefined) execFileSync('mount', ['-t', type, 'nephos-test', this.folder]);
    this.#isMounted = type !== undefined;
    chownSync(this.folder, owner, owner);
  }

  [Symbol.dispose](): void {
    if (this.#isMounted) execFileSync('umount', [this.folder]);
    rmSync(this.folder, { recursive: true });
    this.#status.free();
    this.path.free();
  }

  at(name: string): string {
    return join(this.folder, name);
  }

  name(text: string): Name {
    const bytes = Buffer.from(`${text}\0`);
    this.#kept.push(bytes);
    return { bytes: bytes.subarray(0, -1), address: libc.addressOf(bytes) };
  }

  /** Opens a file by an O_PATH descriptor for a call. */
  on<T>(name: string, use: (fd: number) => T): T {
    const fd = libc.openat(AT_FDCWD, this.name(this.at(name)).address, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    assert.ok(fd >= 0, `${name}: ${errno()}`);
    try {
      return use(fd);
    } finally {
      libc.close(fd);
    }
  }

  /** Makes a file; as the caller of `adopt`, it removes one whose owner cannot be kept. */
  make(ownership: Ownership, name: string, { uid, gid, mode, device = 0 }: File): Done {
    const making = { caller: { uid, gid, pid: 1 }, mode };
    const path = this.name(this.at(name)).address;
    const made = ownership.make(making, (hostMode) => orError(makeFile(path, hostMode, device)));
    if (made < 0) return -made;
    if (!ownership.adopts(mode)) return 0;
    const error = this.on('.', (parent) =>
      this.on(name, (fd) => ownership.adopt(fd, { ...making, parent, device })),
    );
    if (error !== 0) rmSync(this.at(name), { recursive: true });
    return error;
  }

  /** Returns the attributes of a file as the guest sees them. */
  shown(ownership: Ownership, name: string): Attributes {
    return this.on(name, (fd) => {
      const status = this.#status.ofDescriptor(fd);
      assert.ok(typeof status === 'object');
      const attributes = ownership.attributes(status, (kept) => kept.read(fd));
      assert.ok(typeof attributes === 'object', name);
      return attributes;
    });
  }

  /** Returns owner and mode of a file as the guest sees them, the mode in octal. */
  owner(ownership: Ownership, name: string): string {
    const { uid, gid, mode } = this.shown(ownership, name);
    return `${uid}:${gid} ${mode.toString(8)}`;
  }

  /** Returns an extended attribute as a process of the host sees it. */
  attribute(name: string, attribute: string): string | undefined {
    const into = Buffer.alloc(4096);
    const [path, key] = [this.name(this.at(name)).address, this.name(attribute).address];
    const length = libc.lgetxattr(path, key, libc.addressOf(into), into.length);
    return length < 0 ? undefined : into.toString('latin1', 0, length);
  }

  /** Sets an extended attribute as a process of the host does. */
  setAttribute(name: string, attribute: string, value: string | Uint8Array): void {
    const bytes = Buffer.from(value);
    const [path, key] = [this.name(this.at(name)).address, this.name(attribute).address];
    assert.equal(libc.lsetxattr(path, key, libc.addressOf(bytes), bytes.length, 0), 0);
  }
}

function makeFile(path: number, mode: number, device: number): number {
  if (typeOf(mode) === S_IFDIR) return libc.mkdirat(AT_FDCWD, path, mode & 0o7777);
  if (typeOf(mode) === S_IFLNK) return libc.symlinkat(path, AT_FDCWD, path);
  return libc.mknodat(AT_FDCWD, path, mode, device);
}
