/** A shared directory and how the guest sees it. */
export interface DirectoryOptions {
  /** the directory on the host */
  readonly path: string;
  /** the guest may change nothing (EROFS); default: false */
  readonly readonly?: boolean;
  /**
   * `auto`: the guest caches for a second, and as long as a file does not change; `always`: it caches without a check and writes later;
   * `never`: it caches no data. Default: `auto`
   */
  readonly cache?: CachePolicy;
  /** the guest writes to its cache first; default: only with the cache policy `always` */
  readonly writeback?: boolean;
  /** extended attributes can be read and set; default: true */
  readonly xattr?: boolean;
  /** most descriptors that are open at a time; default: a quarter of the limit of the process */
  readonly descriptors?: number;
}

export type CachePolicy = 'auto' | 'always' | 'never';

/** Returns whether the guest writes to its cache first. */
export function hasWriteback({ writeback, cache }: DirectoryOptions): boolean {
  return writeback ?? cache === 'always';
}
