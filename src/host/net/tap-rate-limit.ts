import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FrameLimit } from '../../devices/net/frame-limit.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { interfaceAttribute, interfaceNames } from './network-interface.ts';
import { iproute } from './iproute.ts';

const log = createLog('net');

/** Prefix of the names of helper interfaces; the rest is derived from the name of the TAP. */
const PREFIX = 'nphl-';
const HELPER = new RegExp(`^${PREFIX}[0-9a-f]{10}$`);

/** Interval of the checks whether a burst is used up, in milliseconds: a guest may wait as long when it ends. */
const CHECK_MS = 20;

/**
 * Limits both directions of a guest's traffic. The kernel limits only frames that an interface sends: those of the TAP go to the
 * guest, and those from the guest are redirected to a helper interface (an ifb), which has the limit.
 * Rejects with the reason, and leaves nothing.
 * @returns removes the limits
 */
export async function limitTap(tap: string, limit: FrameLimit): Promise<() => Promise<void>> {
  const helper = helperOf(tap);
  const atStart = { ...limit, burst: limit.first?.burst ?? limit.burst };
  const undo: (() => Promise<void>)[] = [];
  const ending = new AbortController();
  const close = async (): Promise<void> => {
    ending.abort();
    for (const one of undo.splice(0).toReversed()) await one();
  };
  const act = async (
    tool: 'ip' | 'tc',
    words: readonly string[],
    back?: readonly string[],
  ): Promise<void> => {
    await iproute(tool, words);
    if (back !== undefined) undo.push(() => iproute(tool, back));
  };
  try {
    checkKind(tap);
    await act('ip', ['link', 'add', 'name', helper, 'type', 'ifb'], ['link', 'del', 'dev', helper]);
    await act('ip', ['link', 'set', 'dev', helper, 'up']);
    await act('tc', bucket('add', helper, atStart));
    await act('tc', bucket('add', tap, atStart), ['qdisc', 'del', 'dev', tap, 'root']);
    await act(
      'tc',
      ['qdisc', 'add', 'dev', tap, 'handle', 'ffff:', 'ingress'],
      ['qdisc', 'del', 'dev', tap, 'ingress'],
    );
    await act('tc', redirection(tap, helper));
  } catch (error) {
    await close();
    throw new Error(`tap ${tap}: rate_limiter_config: ${reasonOf(error)}`, { cause: error });
  }
  for (const name of [tap, helper]) watch(name, limit, ending.signal);
  return close;
}

/**
 * Removes limits of VMMs that were killed: the helper interfaces of TAPs that no longer exist, and the limits of `tap`, an existing
 * TAP that this VMM uses now.
 */
export async function removeStaleTapLimits(tap: string): Promise<void> {
  const helpers = interfaceNames().filter((name) => HELPER.test(name));
  if (helpers.length === 0) return;
  // read after the helpers: the TAP of another VMM's helper exists before the helper
  const used = new Set(interfaceNames().map((name) => helperOf(name)));
  const own = helperOf(tap);
  for (const helper of helpers.filter((name) => name === own || !used.has(name))) {
    log.info(`${helper}: left by a VMM that was killed: removed`);
    if (helper === own) {
      await attempt('tc', ['qdisc', 'del', 'dev', tap, 'ingress']);
      await attempt('tc', ['qdisc', 'del', 'dev', tap, 'root']);
    }
    await attempt('ip', ['link', 'del', 'dev', helper]);
  }
}

/** Ignores a failure: another VMM may have removed it first. */
async function attempt(tool: 'ip' | 'tc', words: readonly string[]): Promise<void> {
  await iproute(tool, words).catch((error: unknown) => {
    log.debug(reasonOf(error));
  });
}

/** Returns the name of a TAP's helper: every VMM can find out by it whether the TAP exists. */
function helperOf(tap: string): string {
  return PREFIX + createHash('sha256').update(tap).digest('hex').slice(0, 10);
}

/** A macvtap passes frames to its guest without a queue of the host. */
function checkKind(tap: string): void {
  if (interfaceAttribute(tap, 'tun_flags') === undefined) throw new Error('only a TAP can be limited');
}

function bucket(what: 'add' | 'change', name: string, limit: Omit<FrameLimit, 'first'>): string[] {
  const { rate, burst, backlog } = limit;
  const tbf = ['tbf', 'rate', `${rate}bps`, 'burst', String(burst), 'limit', String(backlog)];
  // with a handle the kernel does not replace a queueing discipline of another program
  return ['qdisc', what, 'dev', name, 'root', 'handle', '1:', ...cost(limit), ...tbf];
}

/** Returns the options of the kernel's size table, which maps the length of a frame to its cost. */
function cost({ cost: each }: Pick<FrameLimit, 'cost'>): string[] {
  // the kernel counts a length of less than 1 as 1
  if (each === 'one') return ['stab', 'overhead', '-1000000'];
  if (each.least === 0) return [];
  // in steps of 8 bytes, up to twice the longest frame
  return ['stab', 'mpu', String(each.least), 'mtu', '131072', 'tsize', '16384'];
}

/** `u32 0 0` matches every frame. */
function redirection(tap: string, helper: string): string[] {
  const every = ['protocol', 'all', 'prio', '1', 'u32', 'match', 'u32', '0', '0'];
  const action = ['action', 'mirred', 'egress', 'redirect', 'dev', helper];
  return ['filter', 'add', 'dev', tap, 'parent', 'ffff:', ...every, ...action];
}

/** Ends the one-time burst of an interface when it is used up; returns immediately. */
function watch(name: string, limit: FrameLimit, signal: AbortSignal): void {
  if (limit.first === undefined) return;
  follow(name, limit, { ...limit.first, signal }).catch((error: unknown) => {
    if (!signal.aborted) log.warn(`${name}: its one-time burst does not end: ${reasonOf(error)}`);
  });
}

interface Ending {
  readonly bytes: number;
  readonly frames: number;
  readonly signal: AbortSignal;
}

async function follow(name: string, limit: FrameLimit, { bytes, frames, signal }: Ending): Promise<void> {
  const sent = (what: 'bytes' | 'packets'): number =>
    Number(interfaceAttribute(name, `statistics/tx_${what}`) ?? 0);
  const start = { bytes: sent('bytes'), frames: sent('packets') };
  while (sent('bytes') - start.bytes < bytes && sent('packets') - start.frames < frames) {
    await sleep(CHECK_MS, undefined, { ref: false, signal });
  }
  // a change fills the bucket again
  await iproute('tc', bucket('change', name, limit));
}
