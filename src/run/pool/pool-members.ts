import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { deferred } from '../../util/deferred.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { onAbort } from '../../util/shutdown-signals.ts';
import type { RunRequest } from '../run-request.ts';
import { removeVm } from '../vm-directory/vm-directories.ts';
import { messagesOf, type StandByMessage } from './messages.ts';
import { writePool, type PoolPaths, type StandByVm } from './pool-record.ts';

/** A pool to start. */
export interface PoolPlan {
  readonly key: string;
  /** Request of the stand-by VMs */
  readonly request: RunRequest;
  readonly size: number;
  /** `milliseconds` */
  readonly idleMs: number;
}

/** Command line of the owner process of a stand-by VM. */
export type StandByCommand = readonly [program: string, ...words: string[]];

/** Stand-by VMs of one pool. Disposal ends those that no run has taken. */
export interface Pool extends AsyncDisposable {
  /** Returns the time until the pool has been idle for too long, in `milliseconds`. */
  readonly idleLeft: () => number;
  /** Restarts the idle time. */
  readonly restartIdle: () => void;
  /** Returns true if VMs are missing. */
  readonly isShort: () => boolean;
  /** Starts a VM, and waits until it is ready or has failed. */
  readonly addMember: (signal: AbortSignal) => Promise<void>;
  /** Returns the number of failures since the last run or success, and the reason of the last one. */
  readonly failure: () => { readonly failures: number; readonly reason: string };
  /** Waits until a VM may be missing, or the idle time is over. */
  readonly untilChange: (signal: AbortSignal) => Promise<void>;
}

const log = createLog('pool');

/** Descriptor of a stand-by VM to its pool. */
const POOL = 3;

/** Time after a run began until its VM is replaced, in milliseconds: the start of a VM would slow down a short run. */
const REFILL_MS = 1000;

/** Time for stand-by VMs to end, in milliseconds. */
const END_MS = 15_000;

/** A stand-by VM. It is a member until its owner process has exited. */
interface Member {
  readonly child: ChildProcess;
  readonly channel: Socket;
  /** undefined: not ready */
  vm: StandByVm | undefined;
  /** time of the monotonic clock, in milliseconds */
  takenAt: number | undefined;
}

/** Opens a pool without VMs. */
export function openPool(plan: PoolPlan, paths: PoolPaths, command: StandByCommand): Pool {
  const state = createState(plan, paths);
  const { members } = state;
  const idleLeft = (): number => state.lastRun + plan.idleMs - performance.now();
  state.changed();
  return {
    idleLeft,
    restartIdle: () => {
      state.lastRun = performance.now();
    },
    isShort: () => [...members].filter(counts).length < plan.size,
    addMember: async (signal) => {
      const member = startMember(plan.request, command);
      members.add(member);
      await followMember(member, state, signal);
    },
    failure: () => state,
    untilChange: async (signal) => {
      const ended = new AbortController();
      const limit = { signal: AbortSignal.any([signal, ended.signal]) };
      const idle = delay(Math.max(1, idleLeft()), undefined, limit).catch(() => undefined);
      await Promise.race([state.nextChange(), idle]);
      ended.abort();
    },
    [Symbol.asyncDispose]: () => endMembers(members),
  };
}

/** Members of a pool, and what became of them. */
interface PoolState {
  readonly members: Set<Member>;
  /** time of the monotonic clock, in milliseconds */
  lastRun: number;
  readonly failures: number;
  readonly reason: string;
  /** Writes the record, and ends the wait for a change. */
  readonly changed: () => void;
  /** Settles after the next change, or one since the last call. */
  readonly nextChange: () => Promise<void>;
  readonly take: (member: Member) => void;
  readonly remove: (member: Member, reason: string) => void;
}

function createState(plan: PoolPlan, paths: PoolPaths): PoolState {
  const created = new Date().toISOString();
  let change = deferred<undefined>();
  let taken = 0;
  const state = {
    members: new Set<Member>(),
    lastRun: performance.now(),
    failures: 0,
    reason: '',
    changed: () => {
      const waiting = [...state.members].filter(({ takenAt }) => takenAt === undefined);
      const ready = waiting.flatMap(({ vm }) => vm ?? []);
      writePool(paths, { version: 1, ...plan, pid: process.pid, created, ready, taken });
      change.resolve(undefined);
    },
    nextChange: async () => {
      await change.promise;
      change = deferred<undefined>();
    },
    take: (member: Member) => {
      member.takenAt = state.lastRun = performance.now();
      taken++;
      state.failures = 0;
      setTimeout(state.changed, REFILL_MS).unref();
      state.changed();
    },
    remove: (member: Member, reason: string) => {
      state.members.delete(member);
      if (member.takenAt === undefined) Object.assign(state, { failures: state.failures + 1, reason });
      state.changed();
    },
  };
  return state;
}

/** A VM that a run has just taken counts for a moment, while its run is short. */
function counts({ takenAt }: Member): boolean {
  return takenAt === undefined || performance.now() - takenAt < REFILL_MS;
}

/** Starts the owner process of a stand-by VM, in a session of its own: signals of a terminal do not reach it. */
function startMember(request: RunRequest, [program, ...words]: StandByCommand): Member {
  const child = spawn(program, words, { detached: true, stdio: ['pipe', 'ignore', 'ignore', 'pipe'] });
  child.on('error', () => undefined);
  child.stdin?.on('error', () => undefined).end(JSON.stringify(request));
  const channel = child.stdio[POOL];
  if (!(channel instanceof Socket)) throw new Error('a stand-by VM has no channel');
  channel.on('error', () => undefined);
  return { child, channel, vm: undefined, takenAt: undefined };
}

/** Follows the messages of a member. Settles when it is ready, has exited, or on abort. */
async function followMember(member: Member, state: PoolState, signal: AbortSignal): Promise<void> {
  const settled = deferred<undefined>();
  const settle = (): void => settled.resolve(undefined);
  const removeHandler = onAbort(signal, settle);
  followMessages(member, state, settle)
    .catch((error: unknown) => log.warn(`a stand-by VM: ${reasonOf(error)}`))
    .finally(settle)
    .catch(() => undefined);
  await settled.promise;
  removeHandler();
}

/** Follows the messages of a member until its owner process has exited. */
async function followMessages(member: Member, state: PoolState, onReady: () => void): Promise<void> {
  let reason = 'the owner process of a stand-by VM exited';
  for await (const message of messagesOf<StandByMessage>(member.channel)) {
    if (message.kind === 'error') ({ message: reason } = message);
    else if (message.kind === 'taken') state.take(member);
    else {
      member.vm = { name: message.name, socket: message.socket };
      state.changed();
      onReady();
    }
  }
  if (!hasExited(member)) await once(member.child, 'exit');
  // an owner process that was killed leaves its directory
  if (member.takenAt === undefined && member.vm !== undefined)
    await removeVm(member.vm.name).catch(() => undefined);
  state.remove(member, reason);
}

function hasExited({ child }: Member): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

/** Ends the VMs that no run has taken; the others end with their runs. */
async function endMembers(members: ReadonlySet<Member>): Promise<void> {
  const ends = [...members].map(async (member) => {
    const { child, channel, takenAt } = member;
    channel.destroy();
    if (takenAt !== undefined) return child.unref();
    const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
    if (!hasExited(member)) await once(child, 'exit');
    clearTimeout(timer);
  });
  await Promise.all(ends);
}
