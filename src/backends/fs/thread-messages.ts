import type { CacheMode } from '../fuse/cache-policy.ts';

/** A range of ids: those of the guest from `guest` on are those of the host from `host` on. */
export interface IdRange {
  readonly guest: number;
  readonly host: number;
  readonly count: number;
}

/** Options of the thread of a file system device that serves a directory of the host. */
export interface FsOptions {
  /** path of the directory */
  readonly directory: string;
  /** the guest can change nothing; default: false */
  readonly readonly?: boolean;
  /** default: `auto` */
  readonly cache?: CacheMode;
  /** users of the guest as users of the host; default: unchanged */
  readonly uidMap?: IdRange;
  /** groups of the guest as groups of the host; default: unchanged */
  readonly gidMap?: IdRange;
  /** the guest can use extended attributes; default: where the host's file system has them */
  readonly xattr?: boolean;
  /** number of request queues; default: 1 */
  readonly queues?: number;
}

/** A message to the thread, beside `stop`. After each, its eventfd is written to. */
export interface ReconnectCommand {
  /** requests a further connection: QEMU creates the device again, for a guest whose driver stays */
  readonly kind: 'reconnect';
}
