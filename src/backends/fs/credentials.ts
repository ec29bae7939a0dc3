import { libc } from '../../native/libc.ts';
import { allocate, type Block } from '../../native/memory.ts';
import { checked } from '../../native/system-error.ts';

/*
 * Identity of the thread that serves a directory. The kernel of the guest has checked the permissions of its processes before it
 * sends a request (virtio-fs mounts have `default_permissions`), so the identity matters for new files only: they get the file
 * system ids of the thread as their owner.
 *
 * States: as itself, and as a process of the guest within {@link Credentials.asCaller}. All of it is per thread: the C library is
 * bypassed where it would change the whole process.
 *
 * Capabilities as root (capabilities(7)):
 * - CAP_FSETID is off, so that a write by the guest clears the set-user-ID bit of a program of the host; `setMode` needs it
 *   for the set-group-ID bit of directories, {@link Credentials.withSetId}.
 * - CAP_SYS_RESOURCE is off, so that quotas of the host apply to the guest's files.
 * - Another file system user id turns all others off that concern files. CAP_DAC_OVERRIDE is turned on again, as the host does not
 *   know the supplementary groups by which the guest's kernel permitted the request.
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
/** Without one of these the host refuses owners that a guest sets. */
const NEEDED = Object.values(CAP).reduce<number>((all, one) => all | bit(one), 0);
/** Capabilities 0 to 31 that a change of the file system user id turns off (CAP_FS_SET of Linux). */
const FILES = [
  CAP.CHOWN,
  CAP.DAC_OVERRIDE,
  CAP.DAC_READ_SEARCH,
  CAP.FOWNER,
  CAP.FSETID,
  9,
  27,
].reduce<number>((all, one) => all | bit(one), 0);
const OFF = bit(CAP.FSETID) | bit(CAP_SYS_RESOURCE);

/** Identity of the serving thread. */
export interface Credentials {
  /** Calls `run` with ids of the host as those of the thread, so that files that it makes belong to them. */
  readonly asCaller: <T>(uid: number, gid: number, run: () => T) => T;
  /** Calls `run` with the right to set the set-group-ID bit of a file of any group. */
  readonly withSetId: <T>(run: () => T) => T;
}

/** Credentials of an ordinary user, who has one identity. */
export const ownCredentials: Credentials = {
  asCaller: (_uid, _gid, run) => run(),
  withSetId: (run) => run(),
};

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
  capabilities.use(~OFF);
  return rootCredentials(capabilities);
}

function rootCredentials(capabilities: Capabilities): Credentials {
  return {
    asCaller: (uid, gid, run) => {
      if (uid === 0 && gid === 0) return run();
      libc().setfsgid(gid);
      libc().setfsuid(uid);
      if (uid !== 0) capabilities.use(~OFF & (~FILES | bit(CAP.DAC_OVERRIDE) | bit(CAP.DAC_READ_SEARCH)));
      try {
        return run();
      } finally {
        // back to user id 0 turns the capabilities of files on again, CAP_FSETID too
        libc().setfsuid(0);
        libc().setfsgid(0);
        if (uid !== 0) capabilities.use(~OFF);
      }
    },
    withSetId: (run) => {
      capabilities.use(~bit(CAP_SYS_RESOURCE));
      try {
        return run();
      } finally {
        capabilities.use(~OFF);
      }
    },
  };
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
  readonly #permitted: number;

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

  free(): void {
    this.#block.free();
  }
}
