import type { Duplex } from 'node:stream';
import { createLimiter, OUTSIDE_LIMIT, type Limiter } from '../../util/rate-limit.ts';
import { createLog, type Log } from '../../util/log.ts';

/** Longest time between two zeros of a delay of Linux, in milliseconds. */
const DELAY_MS = 500;

/** Limit of lines for all codes together; each single code has the limit of guest events, too. */
const ALL_CODES = { most: 100, intervalMs: OUTSIDE_LIMIT.intervalMs };

/** Log and clock (in milliseconds), which tests replace. */
interface PostCodeOptions {
  readonly log?: Pick<Log, 'warn' | 'debug'>;
  readonly now?: () => number;
}

/**
 * Logs the codes that a guest writes to port 0x80, with the time since `began`, in the text of Cloud Hypervisor: programs that measure
 * boots read it. Lines above a rate limit are dropped.
 *
 * Linux writes zeros to the port as a delay between two accesses to an old device. A zero is logged only if no other zero is close.
 */
export function logPostCodes(
  channel: Duplex,
  began: number,
  { log = createLog('debug-port'), now = () => performance.now() }: PostCodeOptions = {},
): void {
  const logCode = limitCodes(log);
  const zeros = createZeroFilter((at) => logCode(0, at - began));
  channel.on('data', (bytes: Buffer) => {
    const at = now();
    for (const code of bytes) {
      if (code === 0) {
        zeros.take(at);
      } else {
        zeros.flush();
        logCode(code, at - began);
      }
    }
  });
  channel.on('error', () => undefined);
  channel.once('close', zeros.flush);
}

interface ZeroFilter {
  readonly take: (at: number) => void;
  /** Logs a zero that was delayed until no other zero can be close. */
  readonly flush: () => void;
}

function createZeroFilter(logZero: (at: number) => void): ZeroFilter {
  let last = -Infinity;
  let held: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  const flush = (): void => {
    clearTimeout(timer);
    if (held !== undefined) logZero(held);
    held = undefined;
  };
  return {
    take: (at) => {
      clearTimeout(timer);
      held = at - last < DELAY_MS ? undefined : at;
      last = at;
      if (held !== undefined) timer = setTimeout(flush, DELAY_MS).unref();
    },
    flush,
  };
}

/** Limits the lines of each code, so that a flood of one code does not hide the others. */
function limitCodes(log: Pick<Log, 'warn' | 'debug'>): (code: number, elapsedMs: number) => void {
  const limiters = new Map<number, Limiter>();
  const all = createLimiter(ALL_CODES);
  return (code, elapsedMs) => {
    const one = limiters.get(code) ?? createLimiter(OUTSIDE_LIMIT);
    limiters.set(code, one);
    if (!one.take() || !all.take()) return;
    const dropped = one.takeDropped();
    if (dropped > 0) log.debug(`${dropped} lines about code 0x${code.toString(16)} were dropped`);
    log.warn(`[Debug I/O port: ${rangeOf(code)} code 0x${code.toString(16)}] ${seconds(elapsedMs)} seconds`);
  };
}

/** Returns the writer of a code, in Cloud Hypervisor's ranges. */
function rangeOf(code: number): string {
  return ['Firmware', 'Bootloader', 'Kernel', 'Userspace'][code >> 5] ?? 'Custom';
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(6);
}
