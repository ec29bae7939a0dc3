import { readFile, open } from 'node:fs/promises';
import { createMemfd } from '../../../native/memfd.ts';
import { passFile, withRoms, type Rom } from '../../../qemu/qmp/device-state.ts';
import type { RamBlock } from '../../../qemu/qmp/ram-blocks.ts';
import type { NewSnapshot } from '../../../snapshot-files/snapshot-folder.ts';
import { abortable, beforeLimit } from '../../../util/abortable.ts';
import { createCleanupStack } from '../../../util/cleanup-stack.ts';
import { createLog } from '../../../util/log.ts';
import { describeMachine } from '../../machine-state/describe-machine.ts';
import { diskSizes } from '../../machine-state/images.ts';
import type { Machine } from '../../machine.ts';
import { captureRest, readRoms, type CapturedMachine, type FrozenRam } from '../capture-machine.ts';
import { openDiskCopies, type DiskCopies } from './copy-disks.ts';
import { flushImages } from './flush-images.ts';
import type { Freezer } from './freeze-memory.ts';
import { ANSWER_MS, continueVcpus, createTimes, limitPause } from './limit-pause.ts';
import type { LiveRequest } from './live-request.ts';

const log = createLog('snapshot');

/** A machine at the time of its pause, which has continued. */
export interface InPlace {
  readonly captured: CapturedMachine;
  /** time for which the vCPUs were stopped, in `milliseconds` */
  readonly pauseMs: number;
}

/**
 * Freezes the RAM of a running machine and saves the state of its devices in a short pause; the machine continues in the same QEMU. If
 * it rejects, the machine continues as well: only where QEMU refuses that, `onStopped` is called.
 */
export async function continueInPlace(
  { vm, booted, running, copied, folder, onStopped }: LiveRequest & { readonly folder: NewSnapshot },
  blocks: readonly RamBlock[],
  freezer: Freezer,
): Promise<InPlace> {
  const { machine } = booted;
  // a cancellation does not wait for a QEMU or a disk that hangs
  const described = await abortable(running.kill, describeMachine(vm, machine));
  const rest = await abortable(running.kill, captureRest(vm, machine, blocks));
  await abortable(running.kill, flushImages(machine));
  await freezer.prepare(running.kill);
  const roms = blocks.filter((block) => !block.planned);
  running.tracker.enter('freezing memory');
  const sizes = await abortable(running.kill, diskSizes(machine.qemu.qmp));
  const copying = { planned: copied, sizes, folder, signal: running.kill };
  const opening = openDiskCopies(machine.qemu, copying);
  const disks = await abortable(running.kill, opening, (late) => late[Symbol.asyncDispose]());
  const pausing = { machine, freezer, disks, roms, onStopped };
  const { stream, ownPages, pauseMs } = await pause(pausing, running.kill).catch(async (error: unknown) => {
    await disks[Symbol.asyncDispose]();
    throw error;
  });
  disks.run();
  log.info(`the VM continues after a pause of ${pauseMs.toFixed(1)} ms`);
  // of the former base; see `SnapshotBase`
  const former = machine.snapshotBase;
  machine.snapshotBase = former && { ...former, ownPages: new Map() };
  const frozen: FrozenRam = { pid: process.pid, ownPages };
  const states = Promise.resolve({ described, stream });
  const captured = { ...rest, blocks: freezer.blocks, states, frozen, ownPages, disks };
  return { captured, pauseMs };
}

interface PauseRequest {
  readonly machine: Machine;
  readonly freezer: Freezer;
  readonly disks: DiskCopies;
  /** memory blocks of QEMU itself, whose contents are part of the state */
  readonly roms: readonly RamBlock[];
  readonly onStopped: () => void;
}

interface Pause extends Pick<FrozenRam, 'ownPages'> {
  readonly stream: Buffer;
  readonly pauseMs: number;
}

async function pause(
  { machine, freezer, disks, roms, onStopped }: PauseRequest,
  cancelled: AbortSignal,
): Promise<Pause> {
  const { qmp } = machine.qemu;
  const files = createCleanupStack();
  using limit = limitPause(machine, cancelled);
  try {
    const written = files.use(await createMemfd('device-state'));
    await using writing = await open(written.path, 'w');
    const passing = passFile(qmp, writing.fd);
    const passed = await abortable(limit.signal, passing, (late) => late[Symbol.asyncDispose]());
    const { name: filename } = files.use(passed);
    const timed = createTimes();
    const stoppedAt = performance.now();
    let bytes: Rom[] = [];
    let ownPages: FrozenRam['ownPages'] = new Map();
    limit.signal.throwIfAborted();
    try {
      await abortable(limit.signal, qmp.execute('stop'));
      timed('stop');
      const saved = qmp.execute('xen-save-devices-state', { filename, live: false });
      ownPages = await whileCopying(freezer.copyOwnPages(limit.signal), abortable(limit.signal, saved));
      bytes = readRoms(machine.qemu.pid, roms);
      timed('save');
      limit.signal.throwIfAborted();
      // a freeze may also end half-way
      machine.snapshotRam = new Set([...machine.snapshotRam, ...freezer.blocks.map(({ name }) => name)]);
      freezer.freeze();
      timed('freeze');
      await abortable(limit.signal, disks.begin());
      timed('disks');
    } finally {
      await continueVcpus(machine, limit.signal, onStopped);
    }
    timed('cont');
    const pauseMs = performance.now() - stoppedAt;
    log.debug(`pause: ${timed.text()}`);
    return { stream: withRoms(await readFile(written.path), bytes), ownPages, pauseMs };
  } finally {
    // a QEMU that hangs does so later
    await beforeLimit(files[Symbol.asyncDispose](), ANSWER_MS).catch(() => undefined);
  }
}

/** Waits for a copy of pages, which must not go on after an error, and for another step. @returns the pages */
async function whileCopying<T>(copied: Promise<T>, other: Promise<unknown>): Promise<T> {
  const [pages, step] = await Promise.allSettled([copied, other]);
  if (pages.status === 'rejected') throw pages.reason;
  if (step.status === 'rejected') throw step.reason;
  return pages.value;
}
