import type { FileHandle } from 'node:fs/promises';
import { ApiError } from '../../api/errors.ts';
import type { VmSnapshotConfig } from '../../api/requests.ts';
import type { Amount } from '../../host/memory/copy-extents.ts';
import { removeAbandoned } from '../../snapshot-files/remove-abandoned.ts';
import {
  claimSnapshotFolder,
  flush,
  SNAPSHOT_FILES,
  type NewSnapshot,
} from '../../snapshot-files/snapshot-folder.ts';
import type { OperationTracker, RunningOperation } from '../../util/operation-tracker.ts';
import { abortable } from '../../util/abortable.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { shownAmount, logProgress } from '../progress.ts';
import { allowQemuToRead } from '../machine-state/mappable-files.ts';
import type { Machine } from '../machine.ts';
import type { Vm } from '../vm.ts';
import { checkSaveable } from '../machine-state/saveable.ts';
import { beginDiskCopies, withCopies, type DiskCopies } from './live/copy-disks.ts';
import type { PlannedCopy } from './live/disk-copy-plan.ts';
import { pathOf } from './url-path.ts';
import { referenceTo } from '../../snapshot-files/read-chain.ts';
import { CHAIN_MAX } from '../../snapshot-files/region-source.ts';
import { captureMachine, type CapturedMachine } from './capture-machine.ts';
import { baseOfSave, currentBase, type SnapshotBase } from './chain/snapshot-base.ts';
import { hashOf, manifestOf, withFacts } from '../../snapshot-files/manifest.ts';
import { saveDifference } from './save-difference.ts';
import { saveMemory, type SavedMemory, type StartedSave } from './save-memory.ts';
import type { SavedState } from './snapshot-state.ts';

/*
 * Snapshots: a directory with `config.json`, `state.json`, `memory-ranges` and `manifest.json`.
 *
 *   save.ts            vm.snapshot of a paused VM: capture-machine.ts: its states; save-memory.ts: its RAM, at the same time
 *   restore.ts         vm.restore, a recipe of launch/
 *   read-snapshot.ts   checks a snapshot: snapshot-state.ts, overrides.ts; snapshot-files/ has the formats of its files
 *   memory-source.ts   decides whether RAM is mapped or copied: restore-memory.ts, zone-files.ts
 *   load-snapshot.ts   loads RAM and states into the machine
 *   chain/             differences from a base
 *
 * Invariants: the manifest is written last, so a directory without it is no complete snapshot. Files of a snapshot are never changed:
 * clones map them privately. The whole snapshot is checked before a machine is made from it.
 */

const log = createLog('snapshot');

/** A snapshot of a paused VM. */
export interface PausedRequest {
  readonly request: VmSnapshotConfig;
  readonly running: RunningOperation;
  /** disks that are copied */
  readonly copied: readonly PlannedCopy[];
  /** see `CapturedMachine` */
  readonly onWritten?: (() => Promise<void>) | undefined;
}

/**
 * Writes a snapshot of a paused VM into a directory. The VM is unchanged afterwards, unless `onWritten` resumes it. If it rejects, the
 * directory is empty again.
 */
export async function snapshotVm(
  vm: Vm,
  machine: Machine,
  { request, running, copied, onWritten }: PausedRequest,
): Promise<void> {
  await checkSaveable(machine, 'be in a snapshot');
  const capture = async (folder: NewSnapshot): Promise<CapturedMachine> => {
    const captured = await captureMachine(vm, machine);
    if (copied.length > 0) await captured.states;
    const copying = { planned: copied, folder, signal: running.kill };
    return { ...captured, onWritten, disks: await beginDiskCopies(machine, copying) };
  };
  machine.snapshotBase = await saveSnapshot(machine, request, running, capture);
}

/**
 * Writes a snapshot into a directory: of the machine that `capture` stops, if it is not stopped yet. If it rejects, the directory is
 * empty again.
 * @returns the snapshot as the base of the next one
 */
export async function saveSnapshot(
  { snapshotBase: former }: Pick<Machine, 'snapshotBase'>,
  request: VmSnapshotConfig,
  { kill: signal, tracker }: RunningOperation,
  capture: (folder: NewSnapshot) => Promise<CapturedMachine>,
): Promise<SnapshotBase> {
  const path = pathOf(request.destination_url, 'directory');
  const started = performance.now();
  const amount = { done: 0, total: 0 };
  tracker.enter('reading the state of the devices');
  using _progress = logProgress(log, () => `${path}: ${shownAmount(amount)} of touched RAM is written`);
  await removeAbandoned(path);
  const claim = { durable: request.durable, signal };
  const folder = await claimSnapshotFolder(path, claim).catch((error: unknown) => {
    throw new ApiError('failed', `Destination is not usable: ${reasonOf(error)}`, { cause: error });
  });
  try {
    const base = request.snapshot_type === 'diff' ? await checkBase(former) : undefined;
    const { durable } = request;
    const isComposed = request.compose && base !== undefined;
    // the composition of a full snapshot can still be cancelled
    const commit = (): void =>
      isComposed ? signal.throwIfAborted() : tracker.commit('The snapshot is complete');
    const captured = await capture(folder);
    await using disks = captured.disks;
    await using _states = settling(captured.states);
    const failing = disks?.failed;
    const writing = {
      ...{ path, folder, former, base, amount, durable, tracker, commit },
      signal: failing === undefined ? signal : AbortSignal.any([signal, failing]),
    };
    const next = await writeSnapshot(captured, writing);
    const took = Math.round(performance.now() - started);
    log.info(`${path}: ${Math.round(amount.done / 2 ** 20)} MiB of RAM written in ${took} ms`);
    return next;
  } catch (error) {
    await folder.discard();
    const cause = new Error(reasonOf(error), { cause: error });
    throw new ApiError('failed', `${path}: the snapshot could not be written`, { cause });
  }
}

/** Returns the base of a differential snapshot, which still exists. @throws Error naming it */
async function checkBase(former: SnapshotBase | undefined): Promise<SnapshotBase> {
  const base = former && (await currentBase(former));
  if (base === undefined) {
    throw new Error('there is no base: the machine was neither restored nor saved as a full snapshot');
  }
  if (base.chain.length >= CHAIN_MAX) {
    throw new Error(
      `its base ${base.folder} is the last of ${CHAIN_MAX} possible in a chain: make a full one`,
    );
  }
  return base;
}

interface Writing {
  /** path of the folder */
  readonly path: string;
  readonly folder: NewSnapshot;
  /** base of the machine before */
  readonly former: SnapshotBase | undefined;
  /** undefined for a full snapshot */
  readonly base: SnapshotBase | undefined;
  readonly amount: Amount;
  readonly durable: boolean;
  readonly signal: AbortSignal;
  readonly tracker: OperationTracker;
  /** called before the snapshot is complete; see `NewSnapshot.finish` */
  readonly commit: () => void;
}

async function writeSnapshot(captured: CapturedMachine, writing: Writing): Promise<SnapshotBase> {
  const { folder, durable, signal, tracker, commit } = writing;
  await folder.write(SNAPSHOT_FILES.config, captured.config);
  signal.throwIfAborted();
  const file = await folder.create(SNAPSHOT_FILES.memory);
  await allowQemuToRead(file);
  tracker.enter('writing memory', writing.amount);
  const ended = new AbortController();
  const saving = { ...writing, signal: AbortSignal.any([signal, ended.signal]) };
  try {
    // aborted: not the end of a write to a slow disk, as its file is removed at once
    const { memory, written } = await abortable(signal, startSave(captured, saving, file));
    const { state, facts, next } = await writeState(captured, writing, memory);
    await abortable(signal, written);
    await captured.onWritten?.();
    if (captured.disks !== undefined) await completeDisks(captured.disks, { tracker, signal });
    if (durable) tracker.enter('waiting for the disk');
    await folder.finish(manifestOf(state, facts), commit);
    return await next.complete();
  } finally {
    ended.abort();
  }
}

/** Starts to write RAM. The result settles when the places of all pages in the file are known. */
async function startSave(
  { qemu, blocks, zones, memory: { nameless, discarding }, frozen }: CapturedMachine,
  { base, amount, signal }: Writing,
  file: FileHandle,
): Promise<StartedSave> {
  const saved = [...blocks.filter(({ planned }) => planned), ...nameless];
  const saving = { blocks: saved, overlaid: discarding, zones, amount, signal };
  const { pid } = frozen ?? qemu;
  if (base === undefined) return await saveMemory(pid, saving, file);
  const memory = await saveDifference(pid, saving, { base, file, own: frozen?.ownPages });
  return { memory, written: Promise.resolve() };
}

/** Writes `state.json`, while RAM is still written. */
async function writeState(
  captured: CapturedMachine,
  { path, folder, former, base, durable, signal }: Writing,
  memory: SavedMemory,
) {
  const { qemu, blocks, zones, frozen } = captured;
  const { described, stream } = await abortable(signal, captured.states);
  log.info(`device state: ${stream.length} bytes`);
  const description: SavedState = {
    ...described,
    images: withCopies(described.images, captured.disks),
    base: base && (await referenceTo(base, path)),
    regions: [...memory.regions],
    overlays: [...memory.overlays],
    deviceState: stream.toString('base64'),
  };
  for (const { zone, path: file } of zones.values()) {
    log.warn(`memory zone ${zone}: ${file} is part of the snapshot; a guest that runs on changes it`);
    if (durable) await flush(file, signal);
  }
  const facts = { ...factsOf(qemu, memory.size, description), disks: captured.disks?.disks };
  const state = withFacts(JSON.stringify(description), facts);
  await folder.write(SNAPSHOT_FILES.state, state);
  const { regions } = description;
  const next = await baseOfSave({ folder: path, sha256: hashOf(state), regions }, base, {
    pid: (frozen ?? qemu).pid,
    blocks: [...blocks.filter(({ planned }) => planned), ...captured.memory.nameless],
    former,
    known: captured.ownPages,
  });
  return { state, facts, next };
}

/** Waits at its disposal until a promise has settled: QEMU executes the commands of one operation at a time. */
function settling(promise: Promise<unknown>): AsyncDisposable {
  return { [Symbol.asyncDispose]: async () => void (await Promise.allSettled([promise])) };
}

async function completeDisks(
  { amount, done }: DiskCopies,
  { tracker, signal }: Pick<Writing, 'tracker' | 'signal'>,
): Promise<void> {
  tracker.enter('copying disks', amount);
  await abortable(signal, done);
}

function factsOf({ qmp }: CapturedMachine['qemu'], memorySize: number, { regions, base }: SavedState) {
  return {
    engine: `QEMU ${qmp.version.join('.')}`,
    memorySize,
    regions,
    ...(base && { base }),
  };
}
