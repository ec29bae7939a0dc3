import type { CacheMode } from '../fuse/cache-policy.ts';
import type { IdRange } from './id-map.ts';

/** A shared directory and how the guest sees it. */
export interface DirectoryOptions {
  /** the directory on the host */
  readonly path: string;
  /** the guest may change nothing (EROFS); default: false */
  readonly readonly?: boolean;
  /** default: `auto` */
  readonly cache?: CacheMode;
  /** extended attributes can be read and set; default: true */
  readonly xattr?: boolean;
  /** users of the guest as users of the host; default: unchanged */
  readonly uidMap?: IdRange;
  /** groups of the guest as groups of the host; default: unchanged */
  readonly gidMap?: IdRange;
  /** most descriptors that are open at a time; default: half of the limit of the process */
  readonly descriptors?: number;
}

/** Returns true if the guest writes to its cache first. */
export function hasWriteback({ cache }: DirectoryOptions): boolean {
  return cache === 'always';
}
