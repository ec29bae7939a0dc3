import type { ChildProcess } from 'node:child_process';
import type { Duplex } from 'node:stream';
import type { MachinePlan } from '../../devices/common/machine-plan.ts';
import { onAbort, type ShutdownSignals } from '../../util/shutdown-signals.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { hasTpm, renderArguments } from './arguments.ts';
import { tooOld } from './program.ts';
import { confinementArguments } from './confinement.ts';
import { FIRST_DESCRIPTOR, planDescriptors, withPlanPaths, type Descriptor } from './descriptors.ts';
import { collectStderr } from './stderr-tail.ts';
import { spawnQemu, streamOf } from './spawn.ts';
import { openOutputFiles } from './output-files.ts';
import { progressOf } from './progress.ts';
import { openQmp, defaultDeadlines, type Qmp } from '../qmp/connection.ts';
import type { QmpEvent } from '../qmp/events.ts';
import { QmpError } from '../qmp/qmp-error.ts';
import { startError, QemuError } from './qemu-error.ts';
import { addSteps } from '../qmp/steps.ts';
import { killGroup, terminate } from './terminate.ts';
import { openBlockingChannels, type BlockingChannels } from './blocking-channels.ts';

const log = createLog('qemu');

/** How a QEMU ended. */
export interface QemuEnd {
  /**
   * `power-off` and `reset` are the guest's doing, `quit` ours;
   * `crash` is all else, with the exit code or signal in `detail`.
   */
  readonly reason: 'power-off' | 'reset' | 'quit' | 'crash';
  readonly detail: string;
}

/** A running QEMU, stopped before the guest's first instruction until `cont`. */
export interface Qemu {
  readonly pid: number;
  readonly qmp: Qmp;
  /** the consoles' streams, by the id of their chardev */
  readonly channels: ReadonlyMap<string, Duplex>;
  /** never rejects */
  readonly ended: Promise<QemuEnd>;
  /** Calls `take` for every event from now on, until the returned function is called. */
  readonly onEvent: (take: (event: QmpEvent) => void) => () => void;
  /** Calls `take` for every line of what is traced (`trace-event-set-state`). */
  readonly onTrace: (take: (line: string) => void) => void;
  /** Ends it and returns when it has; a second call waits for the same end. */
  readonly quit: () => Promise<void>;
}

/** A traced event: its name, then `vdev` and what it is about. Only those that the VMM asks for are written. */
const TRACE = /^virtio_set_status vdev /;

/**
 * Starts QEMU for a plan; `signals` end the wait for a back-end, or the start as a whole.
 * Rejects with QemuError, and leaves no process and no open file, when it cannot.
 */
export async function startQemu(plan: MachinePlan, signals: ShutdownSignals): Promise<Qemu> {
  const descriptors = planDescriptors(plan);
  const args = [...confinementArguments(), ...renderArguments(plan, descriptors)];
  await using files = await openOutputFiles(descriptors, signals.waits);
  using waiting = await openBlockingChannels(descriptors);
  const ends = new Map([...files.fds, ...waiting.ends]);
  const child = await spawnQemu(args, descriptors, ends, plan.hugePages);
  const [events, traces] = [createListeners<QmpEvent>(), createListeners<string>()];
  const stderrTail = collectStderr(streamOf(child, 2), (line) => TRACE.test(line) && traces.tell(line));
  let shutdownReason = '';
  let qmp: Qmp | undefined;
  let quitting: Promise<void> | undefined;
  const ended = endOf(child, waiting).then((end) =>
    reasonOfEnd({ ...end, shutdownReason, byKill, asked: quitting !== undefined, stderrTail: stderrTail() }),
  );
  const byKill = hasTpm(plan);
  const quit = (): Promise<void> => (quitting ??= terminate({ child, qmp, ended, byKill }));
  const stopListening = onAbort(signals.kill, () => killGroup(child));
  try {
    const takeEvent = (event: QmpEvent): void => {
      if (event.event === 'SHUTDOWN') {
        shutdownReason = event.data.reason;
        if (byKill) killAfterShutdown({ child, qmp, ended, byKill });
      }
      events.tell(event);
    };
    const patience = defaultDeadlines(progressOf(child.pid ?? 0));
    const opened = await openQmp(streamOf(child, FIRST_DESCRIPTOR), takeEvent, patience);
    const unfit = tooOld(opened.version);
    if (unfit !== undefined) throw new QemuError(unfit);
    await addSteps(opened, plan.lateSteps, signals.waits);
    waiting.makeBlocking();
    qmp = opened;
  } catch (error) {
    // it has not run yet: nothing has to be written out, and it is killed at once
    await quit();
    if (signals.kill.aborted) throw new QemuError('the start was ended', undefined, { cause: error });
    if (error instanceof QemuError) throw error;
    if (error instanceof QmpError && error.hangs) {
      throw new QemuError(error.reason, undefined, { cause: error });
    }
    throw startError(withPlanPaths(stderrTail() || (await ended).detail, descriptors));
  } finally {
    stopListening();
  }
  log.info(`QEMU ${qmp.version.join('.')} runs as pid ${child.pid}`);
  const channels = new Map([...channelsOf(child, descriptors), ...waiting.streams]);
  const [onEvent, onTrace] = [events.add, traces.add];
  return { pid: child.pid ?? 0, qmp, channels, ended, onEvent, onTrace, quit };
}

/** After a guest's power-off or reset QEMU stands still where SIGKILL is its usual end. */
function killAfterShutdown(qemu: Parameters<typeof terminate>[0]): void {
  terminate(qemu).catch((error: unknown) => log.warn(reasonOf(error)));
}

interface Listeners<T> {
  /** Calls `take` for each value from now on, until the returned function is called. */
  readonly add: (take: (value: T) => void) => () => void;
  readonly tell: (value: T) => true;
}

function createListeners<T>(): Listeners<T> {
  const all = new Set<(value: T) => void>();
  return {
    add: (take) => {
      all.add(take);
      return () => void all.delete(take);
    },
    tell: (value) => {
      for (const take of all) take(value);
      return true;
    },
  };
}

function channelsOf(child: ChildProcess, descriptors: readonly Descriptor[]): ReadonlyMap<string, Duplex> {
  const channels = new Map<string, Duplex>();
  for (const [index, one] of descriptors.entries()) {
    if (one.use === 'channel' && !one.waits) channels.set(one.id, streamOf(child, FIRST_DESCRIPTOR + index));
  }
  return channels;
}

/** What the kernel says of an end. */
interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** How long the rest of QEMU's output is waited for after its end, in milliseconds. */
const OUTPUT_MS = 1000;

/** Settles when a process has ended and what it wrote was read, or could have been. */
async function endOf(child: ChildProcess, { drained }: BlockingChannels): Promise<ProcessEnd> {
  const end = await new Promise<ProcessEnd>((resolve) => {
    child.once('exit', (code, signal) => {
      const timer = setTimeout(() => resolve({ code, signal }), OUTPUT_MS);
      child.once('close', () => {
        clearTimeout(timer);
        resolve({ code, signal });
      });
    });
  });
  await drained();
  return end;
}

interface Ending extends ProcessEnd {
  readonly shutdownReason: string;
  /** SIGKILL is its usual end */
  readonly byKill: boolean;
  readonly asked: boolean;
  readonly stderrTail: string;
}

/** The reasons are QEMU's ShutdownCause (qapi/run-state.json). */
function reasonOfEnd({ code, signal, shutdownReason, byKill, asked, stderrTail }: Ending): QemuEnd {
  const isOrderly = code === 0 || (byKill && signal === 'SIGKILL');
  const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
  const detail = stderrTail === '' ? how : `${how}: ${stderrTail}`;
  if (asked) return { reason: 'quit', detail };
  if (isOrderly && shutdownReason === 'guest-shutdown') return { reason: 'power-off', detail };
  if (isOrderly && shutdownReason === 'guest-reset') return { reason: 'reset', detail };
  return { reason: 'crash', detail };
}
