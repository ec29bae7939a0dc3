import { formed, optional, struct, type ValueOf, type Words, type WordsForm } from '../../schema/field.ts';
import { nested, readDecimal, uint } from '../../schema/kinds.ts';

/** A bucket of tokens that refills steadily; see {@link RateLimiterConfig}. */
export interface TokenBucket extends ValueOf<typeof TokenBucket> {}
export const TokenBucket = struct({
  name: 'TokenBucket',
  doc: 'A token bucket: it holds `size` tokens, is refilled within `refill_time`, and starts with `one_time_burst` tokens on top',
  fields: {
    size: uint('Tokens (`bytes` or operations) that the bucket holds', {
      bits: 64,
      format: 'int64',
      document: { minimum: 0 },
    }),
    one_time_burst: optional(
      uint('Extra tokens at the start, never refilled', {
        bits: 64,
        format: 'int64',
        document: { minimum: 0 },
      }),
    ),
    refill_time: uint('Time in `ms` in which an empty bucket fills', {
      bits: 64,
      format: 'int64',
      document: { minimum: 0 },
    }),
  },
});

/** Limits of a device's throughput. Unknown members are refused: a misspelt limit must not mean "no limit". */
export interface RateLimiterConfig extends ValueOf<typeof RateLimiterConfig> {}
export const RateLimiterConfig = struct({
  name: 'RateLimiterConfig',
  doc: 'Limits of bytes and of operations per time, independent of each other',
  strict: true,
  fields: {
    bandwidth: optional(nested(TokenBucket)),
    ops: optional(nested(TokenBucket)),
  },
});

const KEYS = ['bw', 'ops'].flatMap((kind) =>
  ['size', 'one_time_burst', 'refill_time'].map((key) => `${kind}_${key}`),
);

const form: WordsForm = {
  keys: KEYS,
  syntax: KEYS.map((key) => `${key}=<${key.endsWith('time') ? 'ms' : 'number'}>`).join(','),
  read: (words) => {
    const bandwidth = readBucket(words, 'bw');
    const ops = readBucket(words, 'ops');
    return bandwidth === undefined && ops === undefined ? undefined : { bandwidth, ops };
  },
};

/** The member `rate_limiter_config` of disks and networks; `bw_*` and `ops_*` on the command line. */
export const rateLimiterConfig = formed(form, optional(nested(RateLimiterConfig)));

/** Largest rate per second that QEMU can count: a larger one is no limit. */
const LARGEST_RATE = 1e15;

/** Returns the tokens per second of an empty bucket; undefined for a bucket without a limit. */
export function rateOf({ size, refill_time }: TokenBucket): number | undefined {
  if (size === 0 || refill_time === 0) return undefined;
  const rate = (size * 1000) / refill_time;
  return rate > LARGEST_RATE ? undefined : rate;
}

/** Reads a bucket; one without a size or without a refill time is no limit. */
function readBucket(words: Words, prefix: 'bw' | 'ops'): unknown {
  const read = (key: string): number => words.convert(`${prefix}_${key}`, readDecimal) ?? 0;
  const bucket = {
    size: read('size'),
    one_time_burst: read('one_time_burst'),
    refill_time: read('refill_time'),
  };
  return bucket.size > 0 && bucket.refill_time > 0 ? bucket : undefined;
}
