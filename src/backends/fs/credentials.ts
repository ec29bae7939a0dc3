import { libc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';
import { checked, EACCES } from '../../native/system-error.ts';

/*
 * Identity of the thread that serves a directory. The kernel of the guest has checked the permissions of its processes before it
 * sends a request (virtio-fs mounts have `default_permissions`), so the identity matters for new files only: they get the file
 * system ids of the thread as their owner.
 *
 * States: as itself, and as a process of the guest within {@link Credentials.asCaller}. All of it is per thread: the C library is
 * bypassed where it would change the whole process.
 *
 * Capabilities as root (capabilities(7)):
 * - CAP_FSETID is dropped, so that a write by the guest clears the set-user-ID bit of a program of the host. A directory of any
 *   group can still get the set-group-ID bit, as a member of that group: {@link Credentials.inGroup}.
 * - CAP_SYS_RESOURCE is dropped, so that quotas of the host apply to the guest's files.
 * - Another file system user id turns all others off that concern files. A call that the host refuses then is made again with
 *   CAP_DAC_OVERRIDE, as the guest's kernel may have permitted it by a supplementary group, which the host does not know.
 */

/** linux/capability.h */
const CAP = {
  CHOWN: 0,
  DAC_OVERRIDE: 1,
  DAC_READ_SEARCH: 2,
  FOWNER: 3,
  FSETID: 4,
  SETGID: 6,
  SETUID: 7,
} as const;
const CAP_SYS_RESOURCE = 24;
const CAP_VERSION_3 = 0x2008_0522;
/** Bytes of the header, and of the data: effective, permitted and inheritable capabilities 0 to 31, then 32 to 63. */
const [HEADER_BYTES, DATA_BYTES] = [8, 24];
const PERMITTED_AT = 4;

const bit = (capability: number): number => 1 << capability;
const DROPPED = bit(CAP.FSETID) | bit(CAP_SYS_RESOURCE);
/** Without one of these the host refuses owners that a guest sets. */
const NEEDED = Object.values(CAP).reduce<number>((all, one) => all | bit(one), 0) & ~DROPPED;
/** Capabilities that concern files and that a caller does not have: these, CAP_LINUX_IMMUTABLE and CAP_MKNOD. */
const NOT_OF_CALLER = bit(CAP.CHOWN) | bit(CAP.FOWNER) | bit(9) | bit(27);

/** Identity of the serving thread. */
export interface Credentials {
  /**
   * Calls `run` with ids of the host as those of the thread, so that files that it makes belong to them. `run` returns a number, or
   * -errno; it is called again after -EACCES.
   */
  readonly asCaller: (uid: number, gid: number, run: () => number) => number;
  /** Calls `run` as a member of a group of the host. */
  readonly inGroup: (gid: number, run: () => number) => number;
}

/**
 * Takes the identity of this thread. As root, its supplementary groups and the capabilities above are dropped, for this thread alone.
 * May be called again.
 * @returns the credentials with which files can belong to any user; undefined where the host does not permit that
 * @throws the system's error
 */
export function takeCredentials(): Credentials | undefined {
  const capabilities = new Capabilities();
  if (!capabilities.has(NEEDED) || !canSwitch()) {
    capabilities.free();
    return undefined;
  }
  checked('setgroups', libc().setgroups(0, 0));
  capabilities.drop(DROPPED);
  return { asCaller: (uid, gid, run) => asCaller(capabilities, uid, gid, run), inGroup };
}

function asCaller(capabilities: Capabilities, uid: number, gid: number, run: () => number): number {
  if (uid === 0) return inGroup(gid, run);
  return inGroup(gid, () => {
    libc().setfsuid(uid);
    try {
      const result = run();
      if (result !== -EACCES) return result;
      capabilities.use(~NOT_OF_CALLER);
      return run();
    } finally {
      // user id 0 turns the capabilities that concern files on again
      libc().setfsuid(0);
    }
  });
}

function inGroup(gid: number, run: () => number): number {
  if (gid === 0) return run();
  libc().setfsgid(gid);
  try {
    return run();
  } finally {
    libc().setfsgid(0);
  }
}

/** Returns whether the kernel lets this thread act as another user: it does not report a refusal. */
function canSwitch(): boolean {
  const [uid, gid] = [libc().setfsuid(1), libc().setfsgid(1)];
  const hasSwitched = libc().setfsuid(uid) === 1 && libc().setfsgid(gid) === 1;
  return hasSwitched && uid === 0;
}

/** Capabilities 0 to 31 of this thread; those above stay as they are. */
class Capabilities {
  readonly #block: Block = allocate(HEADER_BYTES + DATA_BYTES);
  #permitted: number;

  constructor() {
    this.#block.view.setUint32(0, CAP_VERSION_3, true);
    checked('capget', libc().capget(this.#block.address, this.#block.address + HEADER_BYTES));
    this.#permitted = this.#block.view.getUint32(HEADER_BYTES + PERMITTED_AT, true);
  }

  /** Returns whether this thread has, or can turn on, all of a set. */
  has(set: number): boolean {
    return (this.#permitted & set) === set;
  }

  /** Turns those of a set on, all others off. */
  use(set: number): void {
    this.#block.view.setUint32(HEADER_BYTES, this.#permitted & set, true);
    checked('capset', libc().capset(this.#block.address, this.#block.address + HEADER_BYTES));
  }

  /** Gives those of a set up for good. */
  drop(set: number): void {
    this.#permitted &= ~set;
    this.#block.view.setUint32(HEADER_BYTES + PERMITTED_AT, this.#permitted, true);
    this.use(~0);
  }

  free(): void {
    this.#block.free();
  }
}
