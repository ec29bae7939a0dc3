import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FrameLimit } from '../../devices/net/frame-limit.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { interfaceAttribute, interfaceNames } from './network-interface.ts';
import { iproute } from './iproute.ts';

const log = createLog('net');

/** How our helping interfaces are called; the rest of the name follows from the TAP's. */
const PREFIX = 'nphl-';
const HELPER = new RegExp(`^${PREFIX}[0-9a-f]{10}$`);

/** How often is looked whether a burst is used up, in milliseconds: what a guest may wait at its end. */
const LOOK_MS = 20;

/**
 * Limits what a guest receives (what the TAP sends) and what it sends: the kernel limits only what an interface sends,
 * so what comes from the TAP makes a detour over a helping interface (an ifb), which has the limit.
 * Rejects, and leaves nothing.
 * @returns takes the limits away
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
    await act('tc', detour(tap, helper));
  } catch (error) {
    await close();
    throw new Error(`tap ${tap}: rate_limiter_config: ${reasonOf(error)}`, { cause: error });
  }
  for (const name of [tap, helper]) watch(name, limit, ending.signal);
  return close;
}

/**
 * Takes away what a VMM that was killed has left: the helping interfaces of TAPs that are gone, and the limits of
 * `tap`, a TAP that has stayed and is ours now.
 */
export async function removeStaleTapLimits(tap: string): Promise<void> {
  const helpers = interfaceNames().filter((name) => HELPER.test(name));
  if (helpers.length === 0) return;
  // only now: a helper of another VMM that is seen has a TAP that is seen
  const used = new Set(interfaceNames().map((name) => helperOf(name)));
  const own = helperOf(tap);
  for (const helper of helpers.filter((name) => name === own || !used.has(name))) {
    log.info(`${helper}: left of a VMM that was killed: removed`);
    if (helper === own) {
      await attempt('tc', ['qdisc', 'del', 'dev', tap, 'ingress']);
      await attempt('tc', ['qdisc', 'del', 'dev', tap, 'root']);
    }
    await attempt('ip', ['link', 'del', 'dev', helper]);
  }
}

/** Another VMM may have been faster. */
async function attempt(tool: 'ip' | 'tc', words: readonly string[]): Promise<void> {
  await iproute(tool, words).catch((error: unknown) => {
    log.debug(reasonOf(error));
  });
}

/** As long as a name may be; whoever sees it knows whether its TAP is still there. */
function helperOf(tap: string): string {
  return PREFIX + createHash('sha256').update(tap).digest('hex').slice(0, 10);
}

/** A macvtap hands its guest the frames past any queue of the host. */
function checkKind(tap: string): void {
  if (interfaceAttribute(tap, 'tun_flags') === undefined) throw new Error('only a TAP can be limited');
}

function bucket(what: 'add' | 'change', name: string, limit: Omit<FrameLimit, 'first'>): string[] {
  const { rate, burst, backlog } = limit;
  const tbf = ['tbf', 'rate', `${rate}bps`, 'burst', String(burst), 'limit', String(backlog)];
  // with a handle the kernel does not replace one that somebody else has put there
  return ['qdisc', what, 'dev', name, 'root', 'handle', '1:', ...cost(limit), ...tbf];
}

/** The kernel's table of what a frame of which length counts for. */
function cost({ cost: each }: Pick<FrameLimit, 'cost'>): string[] {
  // whatever is left of a length counts for no less than 1
  if (each === 'one') return ['stab', 'overhead', '-1000000'];
  if (each.least === 0) return [];
  // in steps of 8 bytes, up to twice the longest frame
  return ['stab', 'mpu', String(each.least), 'mtu', '131072', 'tsize', '16384'];
}

/** `u32 0 0` is every frame. */
function detour(tap: string, helper: string): string[] {
  const every = ['protocol', 'all', 'prio', '1', 'u32', 'match', 'u32', '0', '0'];
  const redirect = ['action', 'mirred', 'egress', 'redirect', 'dev', helper];
  return ['filter', 'add', 'dev', tap, 'parent', 'ffff:', ...every, ...redirect];
}

/** Ends the one-time burst of an interface when it is used up; returns at once. */
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
    await sleep(LOOK_MS, undefined, { ref: false, signal });
  }
  // a change fills the bucket again
  await iproute('tc', bucket('change', name, limit));
}
