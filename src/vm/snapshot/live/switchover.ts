import { readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createMemfd, type Memfd } from '../../../native/memfd.ts';
import type { Extent } from '../../../host/memory/extents.ts';
import { loadReported, passFile, reportLoads, withRoms, type Rom } from '../../../qemu/qmp/device-state.ts';
import type { RamBlock } from '../../../qemu/qmp/ram-blocks.ts';
import { addSteps } from '../../../qemu/qmp/steps.ts';
import { abortable, beforeLimit } from '../../../util/abortable.ts';
import { createCleanupStack } from '../../../util/cleanup-stack.ts';
import type { OperationTracker } from '../../../util/operation-tracker.ts';
import { reasonOf } from '../../../util/errno.ts';
import { createLog } from '../../../util/log.ts';
import type { Machine } from '../../machine.ts';
import { statsToContinue } from '../../observe/former-stats.ts';
import { readRoms } from '../capture-machine.ts';
import type { DiskCopies } from './copy-disks.ts';
import { ANSWER_MS, continueVcpus, createTimes, isRefusal, limitPause, type Times } from './limit-pause.ts';
import type { ConsolePass } from './pass-consoles.ts';
import type { TapPass } from './pass-taps.ts';
import type { Twin } from './start-twin.ts';
import type { PageCopy } from './twin-memory.ts';

const log = createLog('snapshot');

/** Parts of a switchover, all of which are prepared. */
export interface SwitchoverRequest {
  readonly running: Machine;
  readonly twin: Twin;
  /** copies of disks in the twin */
  readonly disks: Pick<DiskCopies, 'begin'>;
  readonly pages: PageCopy;
  readonly consoles: ConsolePass;
  readonly taps: TapPass;
  /** memory blocks of QEMU itself, whose contents are part of the state */
  readonly roms: readonly RamBlock[];
  readonly tracker: OperationTracker;
  /** rejects the switchover until the twin is to run */
  readonly signal: AbortSignal;
  /** Makes the twin the machine of the VM, and the former one again with `false`. */
  readonly setCurrent: (isTwin: boolean) => void;
  /** Called when the former QEMU could not continue either: its vCPUs stay stopped. */
  readonly onStopped: () => void;
}

/** Result of a switchover. */
export interface Switchover {
  /** QEMU's device states at the stop, with its own memory blocks */
  readonly stream: Buffer;
  /** private pages of the twin that have the contents of the stop, by name of the block */
  readonly ownPages: ReadonlyMap<string, readonly Extent[]>;
  /** time for which the vCPUs were stopped, in `milliseconds` */
  readonly pauseMs: number;
}

/** Files for the state: QEMU writes one, the twin reads the other. */
interface StateFiles extends AsyncDisposable {
  readonly written: { readonly memfd: Memfd; readonly name: string };
  readonly read: { readonly memfd: Memfd; readonly name: string };
}

/**
 * Lets the twin continue for the running machine. Rejects if a step fails; the running machine continues then, and the twin is dead.
 * Only where the twin ends while it starts the vCPUs, it stays the machine of the VM.
 */
export async function switchOver(request: SwitchoverRequest): Promise<Switchover> {
  const { running, twin, consoles, tracker } = request;
  let files: StateFiles | undefined;
  using limit = limitPause(running, request.signal);
  const { signal } = limit;
  try {
    const passing = passStateFiles(running, twin.machine);
    files = await abortable(signal, passing, (late) => late[Symbol.asyncDispose]());
    tracker.enter('switching to the other QEMU');
    const stoppedAt = performance.now();
    const timed = createTimes();
    const moved = await abortable(signal, moveState({ ...request, signal }, files, timed));
    await runTwin({ ...request, signal });
    timed('cont');
    const pauseMs = performance.now() - stoppedAt;
    log.debug(`pause: ${timed.text()}`);
    consoles.complete(twin.machine);
    return { ...moved, pauseMs };
  } catch (error) {
    if (!(error instanceof LostTwinError)) await rollBack({ ...request, signal }, error);
    throw error;
  } finally {
    // a QEMU that hangs does so later
    const closing = Promise.resolve(files?.[Symbol.asyncDispose]());
    await beforeLimit(closing, ANSWER_MS).catch(() => undefined);
  }
}

/** The twin did not answer the command to run: the guest may have run in it, so that no other QEMU may continue. */
class LostTwinError extends Error {
  override readonly name = 'LostTwinError';
}

/** Stops the running machine and loads its state into the twin. */
async function moveState(
  { running, twin, disks, pages, consoles, taps, roms, signal }: SwitchoverRequest,
  { written, read: loaded }: StateFiles,
  timed: Times,
): Promise<Pick<Switchover, 'stream' | 'ownPages'>> {
  const { qmp } = running.qemu;
  signal.throwIfAborted();
  await qmp.execute('stop');
  timed('stop');
  await Promise.all([consoles.takeBack(), taps.attachQueues()]);
  signal.throwIfAborted();
  const nets = addSteps(twin.machine.qemu.qmp, twin.nets, signal);
  const counted = qmp.execute('query-blockstats');
  const saved = qmp.execute('xen-save-devices-state', { filename: written.name, live: true });
  const copied = pages.copy();
  // throws if QEMU has exited; the other steps reject then as well, and each rejection is handled
  const read = async (): Promise<Rom[]> => readRoms(running.qemu.pid, roms);
  const [stats, ownPages, bytes] = await Promise.all([counted, copied, read(), saved, nets]);
  signal.throwIfAborted();
  const { placements } = running.layout;
  twin.machine.formerStats = statsToContinue(stats, placements, running.formerStats);
  // files in memory: no call waits for a disk
  const stream = withRoms(readFileSync(written.memfd.path), bytes);
  writeFileSync(loaded.memfd.path, stream);
  signal.throwIfAborted();
  timed('save');
  await loadReported(twin.machine.qemu, `file:${loaded.name}`);
  timed('load');
  await disks.begin();
  timed('disks');
  return { stream, ownPages };
}

/** Starts the vCPUs of the twin: from here on the VM is the twin's, unless QEMU refuses the command. */
async function runTwin({ running, twin, setCurrent, signal }: SwitchoverRequest): Promise<void> {
  signal.throwIfAborted();
  if (running.ejected.size > 0) throw new Error('the guest has released a device meanwhile');
  // the command first: the watch of the machine sends others
  const started = twin.machine.qemu.qmp.execute('cont');
  setCurrent(true);
  await started.catch((error: unknown) => {
    if (isRefusal(error)) throw error;
    twin.keep();
    throw new LostTwinError('QEMU has ended at the start of the vCPUs', { cause: error });
  });
  twin.keep();
}

/** Ends the twin, then lets the stopped machine continue. */
async function rollBack(
  { running, twin, consoles, taps, signal, setCurrent, onStopped }: SwitchoverRequest,
  error: unknown,
): Promise<void> {
  log.warn(`the VM continues in its former QEMU: ${reasonOf(error)}`);
  setCurrent(false);
  await twin[Symbol.asyncDispose]();
  await taps.undo();
  await consoles.undo();
  await continueVcpus(running, signal, onStopped).catch((problem: unknown) => {
    log.error(`the vCPUs are not started: ${reasonOf(problem)}`);
  });
}

async function passStateFiles(running: Machine, twin: Machine): Promise<StateFiles> {
  const files = createCleanupStack();
  try {
    const [written, read] = [await createMemfd('device-state'), await createMemfd('device-state')];
    files.use(written);
    files.use(read);
    await using writing = await open(written.path, 'w');
    await using reading = await open(read.path, 'r');
    const passed = files.use(await passFile(running.qemu.qmp, writing.fd));
    const loaded = files.use(await passFile(twin.qemu.qmp, reading.fd));
    await reportLoads(twin.qemu);
    return {
      written: { memfd: written, name: passed.name },
      read: { memfd: read, name: loaded.name },
      [Symbol.asyncDispose]: files[Symbol.asyncDispose],
    };
  } catch (error) {
    await files[Symbol.asyncDispose]();
    throw error;
  }
}
