import { OpenReplyFlag } from './flags.ts';

/**
 * Caching in the guest. `auto`: attributes and names for a second, data while the file's time and size stay the same; for a directory
 * that the host changes as well. `always`: everything, written data too, which reaches the host later; only for a directory that the host
 * does not change. `never`: nothing, every access reaches the host.
 */
export type CacheMode = 'auto' | 'always' | 'never';

/** Effects of a {@link CacheMode} on replies. */
export interface CachePolicy {
  /** time for which names and attributes are valid, in seconds */
  readonly validSeconds: number;
  /** `FOPEN_*` of the reply to OPEN and CREATE */
  readonly openFlags: number;
  /** the guest may cache that there is no entry of a name */
  readonly cachesMissing: boolean;
}

/** A day: long enough to be forever, as virtiofsd has it. */
const LONG_SECONDS = 86_400;

export const CACHE_POLICIES: Record<CacheMode, CachePolicy> = {
  auto: { validSeconds: 1, openFlags: 0, cachesMissing: false },
  always: { validSeconds: LONG_SECONDS, openFlags: OpenReplyFlag.KeepCache, cachesMissing: true },
  never: { validSeconds: 0, openFlags: OpenReplyFlag.DirectIo, cachesMissing: false },
};
