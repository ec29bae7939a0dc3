import type { DeviceOptions } from '../device-thread.ts';
import type { CacheMode } from '../fuse/cache-policy.ts';
import type { IdRange } from './id-map.ts';

/** Options of the thread of a file system device that serves a directory of the host. */
export interface FsOptions {
  /** path of the directory */
  readonly directory: string;
  /** the guest can change nothing; default: false */
  readonly readonly?: boolean | undefined;
  /** default: `auto` */
  readonly cache?: CacheMode | undefined;
  /** users of the guest as users of the host; default: unchanged */
  readonly uidMap?: IdRange | undefined;
  /** groups of the guest as groups of the host; default: unchanged */
  readonly gidMap?: IdRange | undefined;
  /** the guest can use extended attributes; default: where the host's file system has them */
  readonly xattr?: boolean | undefined;
  /** number of request queues; default: 1 */
  readonly queues?: number;
  /** memory of `RequestCounters` that count the requests */
  readonly counters?: SharedArrayBuffer;
}

/** Input of the thread. */
export type FsThreadOptions = FsOptions & DeviceOptions;

/** A message to the thread, beside `stop`. After each, its eventfd is written to. */
export interface ReconnectCommand {
  /** requests a further connection: QEMU creates the device again, for a guest whose driver stays */
  readonly kind: 'reconnect';
}
