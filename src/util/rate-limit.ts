import type { Log } from './log.ts';

/** At most `most` calls in each interval; an interval begins with the first call after the end of the previous one. */
export interface RateLimit {
  readonly most: number;
  readonly intervalMs: number;
}

/** Limit for log lines and events that a guest, a peer or a client can cause. */
export const OUTSIDE_LIMIT: RateLimit = { most: 10, intervalMs: 10_000 };

/** Counts calls that pass and calls that are dropped. Needs no timers, so it works in threads that block in the kernel. */
export interface Limiter {
  /** Returns whether a call passes now; counts it as dropped otherwise. */
  readonly take: () => boolean;
  /** Returns how many were dropped since the last call of `takeDropped`. */
  readonly takeDropped: () => number;
  /** Returns the milliseconds until the current interval ends. */
  readonly remaining: () => number;
}

export function createLimiter({ most, intervalMs }: RateLimit, now = () => performance.now()): Limiter {
  let end = -Infinity;
  let passed = 0;
  let dropped = 0;
  return {
    take: () => {
      const time = now();
      if (time >= end) {
        end = time + intervalMs;
        passed = 0;
      }
      if (passed === most) {
        dropped += 1;
        return false;
      }
      passed += 1;
      return true;
    },
    takeDropped: () => {
      const count = dropped;
      dropped = 0;
      return count;
    },
    remaining: () => Math.max(0, end - now()),
  };
}

export interface LimitedOptions extends RateLimit {
  /** Called once at the end of each interval in which calls were dropped. */
  readonly onDropped: (count: number) => void;
}

/**
 * Returns `act` limited to a rate: calls beyond it are dropped, and their number is reported at the end of the interval.
 * The process can exit while the timer is set.
 */
export function limitCalls<A extends readonly unknown[]>(
  act: (...args: A) => void,
  { onDropped, ...limit }: LimitedOptions,
): (...args: A) => void {
  const limiter = createLimiter(limit);
  let timer: NodeJS.Timeout | undefined;
  const report = (): void => {
    timer = undefined;
    const count = limiter.takeDropped();
    if (count > 0) onDropped(count);
  };
  return (...args) => {
    if (limiter.take()) act(...args);
    // rounded up: a timer may fire up to 1 ms early
    else timer ??= setTimeout(report, Math.ceil(limiter.remaining()) + 1).unref();
  };
}

/**
 * Returns a log whose lines are limited, each level separately. `what` completes "12 lines about ... were dropped".
 */
export function limitLog(log: Log, what: string, limit: RateLimit = OUTSIDE_LIMIT): Log {
  const at = (level: keyof Log) =>
    limitCalls(log[level], {
      ...limit,
      onDropped: (count) => log[level](`${count} lines about ${what} were dropped`),
    });
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), trace: at('trace') };
}
