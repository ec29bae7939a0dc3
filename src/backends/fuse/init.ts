import type { CacheMode } from './cache-policy.ts';
import { InitFlag, InitFlag2 } from './flags.ts';

/** Version of the protocol of this implementation. */
export const MAJOR = 7;
export const MINOR = 38;

/** Oldest minor version: that of Linux 5.4, the first with virtio-fs. */
export const OLDEST_MINOR = 31;

/** Bytes of a page of the guest for `max_pages`. */
const PAGE_BYTES = 4096;

/** Largest data of a READ or WRITE, in pages. */
export const MAX_PAGES = 256;

/**
 * Most requests that the kernel keeps in flight in the background, and those from which on it counts the device as congested: the queues
 * are the limit, not these.
 */
const MAX_BACKGROUND = 65_535;
const CONGESTION_THRESHOLD = 49_151;

/** Request of a kernel (`struct fuse_init_in`). */
export interface InitRequest {
  readonly major: number;
  readonly minor: number;
  /** bytes */
  readonly maxReadahead: number;
  /** bits 0 to 31 */
  readonly flags: number;
  /** bits 32 to 63, shifted down; 0 where the kernel sends none */
  readonly flags2: number;
}

/** Properties of the device that the flags depend on. */
export interface InitOptions {
  readonly cache: CacheMode;
  /** the file system implements POSIX ACLs as extended attributes */
  readonly posixAcl: boolean;
}

/** Reply to a kernel (`struct fuse_init_out`), and the state of the connection from then on. */
export interface InitReply {
  readonly major: number;
  readonly minor: number;
  readonly maxReadahead: number;
  readonly flags: number;
  readonly flags2: number;
  readonly maxBackground: number;
  readonly congestionThreshold: number;
  readonly maxWrite: number;
  readonly maxPages: number;
  /** unit of times, in nanoseconds */
  readonly timeGranularity: number;
}

/** State of a connection from INIT on; a snapshot contains it. */
export interface Negotiated {
  /** minor version of the kernel */
  readonly minor: number;
  readonly flags: number;
  readonly flags2: number;
}

/**
 * Flags for every kernel that has them.
 *
 * HANDLE_KILLPRIV_V2: the kernel marks the requests that remove the set-user-ID and set-group-ID bits; without it it reads
 * `security.capability` before each write, one more request. Not offered: POSIX_LOCKS and FLOCK_LOCKS (locks stay in the guest),
 * DONT_MASK (the kernel applies the umask), EXPORT_SUPPORT (it needs lookups of `.` and `..`), SUBMOUNTS (all mounts below the directory
 * are one file system to the guest), SECURITY_CTX and CREATE_SUPP_GROUP (no labels and groups at creation), MAP_ALIGNMENT and
 * HAS_INODE_DAX (no shared memory region).
 */
const ALWAYS =
  InitFlag.AsyncRead |
  InitFlag.AtomicTruncate |
  InitFlag.BigWrites |
  InitFlag.DoReaddirplus |
  InitFlag.ReaddirplusAuto |
  InitFlag.AsyncDirectIo |
  InitFlag.ParallelDirectoryOperations |
  InitFlag.MaxPages |
  InitFlag.HandleKillPrivilegesV2 |
  InitFlag.SetxattrExtended |
  InitFlag.InitExtended;

/** Flags that depend on the caching. With WRITEBACK_CACHE the guest's times and sizes are newer than the host's. */
const BY_CACHE: Record<CacheMode, { readonly flags: number; readonly flags2: number }> = {
  auto: { flags: InitFlag.AutoInvalidateData, flags2: 0 },
  always: { flags: InitFlag.WritebackCache | InitFlag.CacheSymlinks, flags2: 0 },
  never: { flags: InitFlag.AutoInvalidateData, flags2: InitFlag2.DirectIoAllowMmap },
};

/**
 * Negotiates a connection.
 * @returns 'unsupported' where the kernel is too old
 */
export function negotiate(request: InitRequest, { cache, posixAcl }: InitOptions): InitReply | 'unsupported' {
  if (request.major < MAJOR || (request.major === MAJOR && request.minor < OLDEST_MINOR))
    return 'unsupported';
  const offered = ALWAYS | BY_CACHE[cache].flags | (posixAcl ? InitFlag.PosixAcl : 0);
  const flags = (request.flags & offered) >>> 0;
  return {
    major: MAJOR,
    minor: MINOR,
    maxReadahead: request.maxReadahead,
    flags,
    // without INIT_EXT the kernel does not read them
    flags2: (flags & InitFlag.InitExtended) === 0 ? 0 : (request.flags2 & BY_CACHE[cache].flags2) >>> 0,
    maxBackground: MAX_BACKGROUND,
    congestionThreshold: CONGESTION_THRESHOLD,
    maxWrite: MAX_PAGES * PAGE_BYTES,
    maxPages: MAX_PAGES,
    timeGranularity: 1,
  };
}
