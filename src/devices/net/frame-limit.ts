import { rateOf, type RateLimiterConfig, type TokenBucket } from '../common/rate-limit.ts';

/**
 * Limits of one direction of a network as one token bucket, as in the kernel's tbf. The bucket refills with
 * `rate` tokens per second, and each frame takes tokens.
 */
export interface FrameLimit {
  /** tokens per second */
  readonly rate: number;
  /** tokens that the bucket holds */
  readonly burst: number;
  /** tokens of queued frames; further frames are dropped, as from a full queue */
  readonly backlog: number;
  /** tokens of a frame: its `bytes`, but no less than `least`; or one token */
  readonly cost: { readonly least: number } | 'one';
  /** the bucket at the start, until its bytes or its frames are used up */
  readonly first?: { readonly burst: number; readonly bytes: number; readonly frames: number };
}

/** Longest frame, a segment that the host's card splits, in `bytes`: a smaller bucket would never pass it. */
const LONGEST_FRAME = 65_550;
/** Tokens of a frame if all frames cost the same: no frame is longer. */
const WHOLE_FRAME = 131_072;
/** Rate in frames per second below which a whole number of tokens is too coarse. */
const FINE_RATE = 100;
/** Smallest queue, in frames. */
const BACKLOG_FRAMES = 64;
/** Longest delay of a frame under lasting overload, in seconds. */
const BACKLOG_SECONDS = 0.25;
/** Limit of tokens in a bucket: the kernel counts them in 32 bits. */
const MOST_TOKENS = 2 ** 32 - 1;
const MOST_LEAST = 2 ** 31;

type Limiting = TokenBucket & { readonly rate: number };

/** Returns the limit of each direction; undefined if there is none. */
export function planFrameLimit(config: RateLimiterConfig | undefined): FrameLimit | undefined {
  const bandwidth = limiting(config?.bandwidth);
  const ops = limiting(config?.ops);
  if (bandwidth !== undefined && ops !== undefined) return limitBoth(bandwidth, ops);
  if (bandwidth !== undefined) return limitOne(bandwidth, { least: 0 }, 'bytes');
  if (ops === undefined) return undefined;
  return limitOne(ops, ops.rate < FINE_RATE ? { least: WHOLE_FRAME } : 'one', 'frames');
}

function limiting(bucket: TokenBucket | undefined): Limiting | undefined {
  const rate = bucket === undefined ? undefined : rateOf(bucket);
  return bucket === undefined || rate === undefined ? undefined : { ...bucket, rate };
}

function limitOne(bucket: Limiting, cost: FrameLimit['cost'], counts: 'bytes' | 'frames'): FrameLimit {
  const unit = cost === 'one' ? 1 : cost.least || 1;
  const { rate, size, one_time_burst: extra = 0 } = bucket;
  return {
    ...bounded(rate * unit, size * unit, cost),
    ...(extra > 0 && {
      first: { burst: tokens(extra * unit, cost), ...used({ [counts]: extra }) },
    }),
  };
}

/**
 * Returns one bucket for both limits. A frame takes its bytes, but at least the bytes that pass in the time of one operation. Neither
 * limit is ever exceeded. A mix of long and short frames gets less than with two buckets.
 */
function limitBoth(bandwidth: Limiting, ops: Limiting): FrameLimit {
  const cost = { least: Math.min(Math.ceil(bandwidth.rate / ops.rate), MOST_LEAST) };
  const rate = Math.min(bandwidth.rate, ops.rate * cost.least);
  const [bytes = 0, frames = 0] = [bandwidth.one_time_burst, ops.one_time_burst];
  const burst = Math.min(bytes || bandwidth.size, (frames || ops.size) * cost.least);
  return {
    ...bounded(rate, Math.min(bandwidth.size, ops.size * cost.least), cost),
    ...(bytes + frames > 0 && { first: { burst: tokens(burst, cost), ...used({ bytes, frames }) } }),
  };
}

function bounded(rate: number, burst: number, cost: FrameLimit['cost']): Omit<FrameLimit, 'first'> {
  const frame = cost === 'one' ? 1 : Math.max(cost.least, 4096);
  const backlog = Math.max(rate * BACKLOG_SECONDS, BACKLOG_FRAMES * frame);
  return {
    rate: Math.max(1, Math.round(rate)),
    burst: tokens(burst, cost),
    backlog: Math.min(Math.ceil(backlog), MOST_TOKENS),
    cost,
  };
}

/** Returns the size of a bucket, which must hold the longest frame: the kernel drops longer frames. */
function tokens(burst: number, cost: FrameLimit['cost']): number {
  const frame = cost === 'one' ? 1 : Math.max(cost.least, LONGEST_FRAME);
  return Math.min(Math.max(burst, frame), MOST_TOKENS);
}

/** Returns limits of the first bucket; a limit that is not given is infinite. */
function used({ bytes = 0, frames = 0 }: { readonly bytes?: number; readonly frames?: number }) {
  return { bytes: bytes || Infinity, frames: frames || Infinity };
}
