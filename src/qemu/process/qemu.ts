import type { Duplex } from 'node:stream';
import type { MachinePlan } from '../../devices/common/machine-plan.ts';
import { onAbort, type ShutdownSignals } from '../../util/shutdown-signals.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { hasTpm, renderArguments } from './arguments.ts';
import { versionProblem } from './program.ts';
import { confinementArguments } from './confinement.ts';
import {
  descriptorOfFile,
  FIRST_DESCRIPTOR,
  planDescriptors,
  withPlanPaths,
  type Descriptor,
} from './descriptors.ts';
import { collectStderr } from './stderr-tail.ts';
import { spawnQemu, streamOf, type QemuProcess } from './spawn.ts';
import { openOutputFiles } from './output-files.ts';
import { progressOf } from './progress.ts';
import { defaultDeadlines, openQmp, type Qmp } from '../qmp/connection.ts';
import type { QmpEvent } from '../qmp/events.ts';
import { QmpError } from '../qmp/qmp-error.ts';
import { QemuError, startError } from './qemu-error.ts';
import { addSteps } from '../qmp/steps.ts';
import { channelEnds, type CopyChannelEnd } from './channel-end.ts';
import { channelSwitch, type SwitchedQemu, type SwitchToChannel } from './switch-chardev.ts';
import { killGroup, terminate } from './terminate.ts';
import { openBlockingChannels } from './blocking-channels.ts';
import { exitOf, explainExit, type QemuExit } from './exit.ts';

/*
 * QEMU's process, one file for each stage of its lifetime:
 *
 * - program.ts            finds QEMU and checks its version
 * - descriptors.ts        file descriptors that it inherits, and paths of files that it opens by them
 * - arguments.ts          its command line, from a plan
 * - confinement.ts        its seccomp filter and host user
 * - output-files.ts       files that it writes to, opened by the VMM
 * - blocking-channels.ts  sockets on which its writes block until the VMM has read
 * - channel-end.ts        copies of QEMU's ends of the channels
 * - switch-chardev.ts     replaces the back-end of a serial port when its first viewer connects
 * - spawn.ts              starts the process
 * - stderr-tail.ts        its standard error, logged, and kept for error messages
 * - terminate.ts          ends it: quit, then SIGKILL
 * - exit.ts               reason of its exit
 *
 * States: starting, stopped before the guest's first instruction, owned by the caller of `startQemu`, exited.
 * Invariants: a failed start leaves no process and no open file; QEMU exits at the latest with the VMM; `ended` never rejects.
 */

const log = createLog('qemu');

/** A running QEMU, stopped before the guest's first instruction until `cont`. */
export interface Qemu {
  readonly pid: number;
  readonly qmp: Qmp;
  /** streams of consoles, by id of their chardev */
  readonly channels: ReadonlyMap<string, Duplex>;
  /** Settles when QEMU has exited. Never rejects. */
  readonly ended: Promise<QemuExit>;
  /** Calls `take` for every event from now on, until the returned function is called. */
  readonly onEvent: (take: (event: QmpEvent) => void) => () => void;
  /** Calls `take` for every line of a traced event (`trace-event-set-state`). */
  readonly onTrace: (take: (line: string) => void) => void;
  /** Replaces QEMU's own back-end of a serial port by a channel. Rejects with the reason; the back-end is unchanged then. */
  readonly switchToChannel: SwitchToChannel;
  /** Copies QEMU's end of a channel: bytes that QEMU has not read can be taken from it. */
  readonly copyChannelEnd: CopyChannelEnd;
  /** Ends QEMU and settles when it has exited; a second call waits for the same exit. Rejects with QemuError if it does not exit. */
  readonly quit: () => Promise<void>;
  /** Kills QEMU, which writes nothing out, and settles as `quit` does. */
  readonly kill: () => Promise<void>;
  /** Returns the number in QEMU of the descriptor of a file that the plan lets it inherit. @throws if there is none */
  readonly inheritedAt: (path: string) => number;
}

/** A line of a traced event: its name, then `vdev` and its arguments. */
const TRACE = /^virtio_set_status vdev /;

/** QEMU's process while it starts. */
export type StartingQemu = Pick<QemuProcess, 'pid' | 'status'>;

/** Work of others while QEMU starts; neither call may throw. */
export interface WhileStarting {
  /** called when the process exists */
  readonly onSpawned?: () => void;
  /** called when QEMU has the RAM of the plan; it makes the devices next */
  readonly onMemory?: ((qemu: StartingQemu) => void) | undefined;
}

/**
 * Starts QEMU for a plan. `signals` abort the wait for a back-end, or the start as a whole.
 * Rejects with QemuError, and leaves no process and no open file.
 */
export async function startQemu(
  plan: MachinePlan,
  signals: ShutdownSignals,
  { onSpawned, onMemory }: WhileStarting = {},
): Promise<Qemu> {
  const descriptors = planDescriptors(plan);
  await using files = await openOutputFiles(descriptors, signals.waits, plan.continues);
  const args = [...confinementArguments(), ...renderArguments(plan, descriptors, files.streamed)];
  using blocking = await openBlockingChannels(descriptors);
  const ends = new Map([...files.fds, ...blocking.ends]);
  const child = await spawnQemu(args, descriptors, ends, plan.hugePages);

  const [events, traces] = [createListeners<QmpEvent>(), createListeners<string>()];
  const stderrTail = collectStderr(streamOf(child, 2), (line) => TRACE.test(line) && traces.emit(line));
  const byKill = hasTpm(plan);
  let shutdownReason = '';
  let qmp: Qmp | undefined;
  let quitting: Promise<void> | undefined;
  const ended = exitOf(child, blocking).then((status) => {
    const wasAsked = quitting !== undefined;
    return explainExit(status, { shutdownReason, byKill, wasAsked, stderrTail: stderrTail() });
  });
  const quit = (): Promise<void> => (quitting ??= terminate({ child, qmp, ended, byKill }));
  const kill = (): Promise<void> => (quitting ??= terminate({ child, qmp: undefined, ended }));
  const takeEvent = (event: QmpEvent): void => {
    if (event.event === 'SHUTDOWN') {
      shutdownReason = event.data.reason;
      if (byKill) killAfterShutdown({ child, qmp, ended, byKill });
    }
    events.emit(event);
  };

  const stopListening = onAbort(signals.kill, () => killGroup(child));
  try {
    onSpawned?.();
    qmp = await controlQemu(child, plan, { takeEvent, signals, onMemory });
    blocking.makeBlocking();
  } catch (error) {
    // QEMU has not run yet and has no data to write out: it is killed at once
    await quit();
    const readReason = async (): Promise<string> =>
      withPlanPaths(stderrTail() || (await ended).detail, descriptors);
    throw await startFailure(error, signals, readReason);
  } finally {
    stopListening();
  }

  log.info(`QEMU ${qmp.version.join('.')} runs as pid ${child.pid}`);
  const channels = new Map([...channelsOf(child, descriptors), ...blocking.streams]);
  files.writeFrom(channels);
  const listening = { onEvent: events.add, onTrace: traces.add, inheritedAt: finder(descriptors) };
  const running = { pid: child.pid, qmp, ended, quit, kill, ...listening };
  return { ...running, channels, ...channelCalls({ ...running, blocking, descriptors }) };
}

/** Parts of a start that the control connection needs. */
interface ControlOptions {
  readonly takeEvent: (event: QmpEvent) => void;
  readonly signals: ShutdownSignals;
  readonly onMemory: WhileStarting['onMemory'];
}

/** Opens the control connection of a QEMU that starts, and carries out the late steps of the plan. */
async function controlQemu(
  child: QemuProcess,
  { lateSteps }: MachinePlan,
  { takeEvent, signals, onMemory }: ControlOptions,
): Promise<Qmp> {
  const deadlines = defaultDeadlines(progressOf(child.pid));
  const stream = streamOf(child, FIRST_DESCRIPTOR);
  // QEMU makes memory back-ends before its monitors, whose first message is the greeting
  const qmp = await openQmp(stream, takeEvent, deadlines, () => onMemory?.(child));
  const problem = versionProblem(qmp.version);
  if (problem !== undefined) throw new QemuError(problem);
  await addSteps(qmp, lateSteps, signals.waits);
  return qmp;
}

function channelCalls(open: SwitchedQemu): Pick<Qemu, 'switchToChannel' | 'copyChannelEnd'> {
  return { switchToChannel: channelSwitch(open), copyChannelEnd: channelEnds(open) };
}

/** Returns the error of a failed start; `readReason` returns QEMU's own reason. */
async function startFailure(
  error: unknown,
  { kill }: ShutdownSignals,
  readReason: () => Promise<string>,
): Promise<QemuError> {
  if (kill.aborted) return new QemuError('the start was ended', undefined, { cause: error });
  if (error instanceof QemuError) return error;
  if (error instanceof QmpError && error.hangs)
    return new QemuError(error.reason, undefined, { cause: error });
  return startError(await readReason(), error);
}

function finder(descriptors: readonly Descriptor[]): Qemu['inheritedAt'] {
  return (path) => descriptorOfFile(descriptors, path);
}

/** Kills a QEMU with `byKill` after its guest's power-off or reset: it does not exit by itself. */
function killAfterShutdown(qemu: Parameters<typeof terminate>[0]): void {
  terminate(qemu).catch((error: unknown) => log.warn(reasonOf(error)));
}

interface Listeners<T> {
  /** Calls `take` for each value from now on, until the returned function is called. */
  readonly add: (take: (value: T) => void) => () => void;
  readonly emit: (value: T) => true;
}

function createListeners<T>(): Listeners<T> {
  const all = new Set<(value: T) => void>();
  return {
    add: (take) => {
      all.add(take);
      return () => void all.delete(take);
    },
    emit: (value) => {
      for (const take of all) take(value);
      return true;
    },
  };
}

function channelsOf(child: QemuProcess, descriptors: readonly Descriptor[]): ReadonlyMap<string, Duplex> {
  const channels = new Map<string, Duplex>();
  for (const [index, one] of descriptors.entries()) {
    if (one.use === 'channel' && !one.waits) channels.set(one.id, streamOf(child, FIRST_DESCRIPTOR + index));
  }
  return channels;
}
