import { open, readFile } from 'node:fs/promises';
import { ApiError } from '../../api/errors.ts';
import type { VmSnapshotConfig } from '../../api/requests.ts';
import { encodeVmConfig, portableVmConfig } from '../../config/vm-config.ts';
import type { Amount } from '../../host/memory/copy-extents.ts';
import type { Extent } from '../../host/memory/extents.ts';
import { createMemfd } from '../../native/memfd.ts';
import { readProcess } from '../../native/process-copy.ts';
import { removeAbandoned } from '../../snapshot-files/remove-abandoned.ts';
import {
  claimSnapshotFolder,
  flush,
  SNAPSHOT_FILES,
  type NewSnapshot,
} from '../../snapshot-files/snapshot-folder.ts';
import { qemuId } from '../../plan/placement.ts';
import { withRoms, writeDeviceState, type Rom } from '../../qemu/qmp/device-state.ts';
import { ramBlocks, type RamBlock } from '../../qemu/qmp/ram-blocks.ts';
import type { OperationTracker, RunningOperation } from '../../util/operation-tracker.ts';
import { abortable } from '../../util/abortable.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { shownAmount, logProgress } from '../progress.ts';
import { allowQemuToRead } from '../machine-state/mappable-files.ts';
import type { Machine } from '../machine.ts';
import type { Vm } from '../vm.ts';
import { checkSaveable } from '../machine-state/saveable.ts';
import type { SavedDescription } from '../machine-state/description-schema.ts';
import { describeMachine } from '../machine-state/describe-machine.ts';
import { beginDiskCopies, withCopies, type DiskCopies } from './live/copy-disks.ts';
import type { PlannedCopy } from './live/disk-copy-plan.ts';
import { pathOf } from './url-path.ts';
import { referenceTo } from '../../snapshot-files/read-chain.ts';
import { CHAIN_MAX } from '../../snapshot-files/region-source.ts';
import { baseOfSave, currentBase, type SnapshotBase } from './chain/snapshot-base.ts';
import { hashOf, manifestOf, withFacts } from '../../snapshot-files/manifest.ts';
import { saveDifference } from './save-difference.ts';
import type { DeviceMemory } from '../devices/state-actions.ts';
import { deviceMemory, whileSaveable } from '../devices/states.ts';
import { saveMemory } from './save-memory.ts';
import type { SavedState } from './snapshot-state.ts';
import { zoneFilesOf, type ZoneFile } from './zone-files.ts';

/*
 * Snapshots: a directory with `config.json`, `state.json`, `memory-ranges` and `manifest.json`.
 *
 *   save.ts            vm.snapshot of a paused VM; save-memory.ts: its RAM
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

/** A stopped machine whose device states were read. Its RAM is in QEMU, and does not change until the snapshot is written. */
export interface CapturedMachine {
  readonly qemu: Machine['qemu'];
  readonly blocks: readonly RamBlock[];
  readonly described: SavedDescription;
  /** QEMU's device states, with its own memory blocks */
  readonly stream: Buffer;
  /** contents of `config.json` */
  readonly config: string;
  readonly zones: ReadonlyMap<string, ZoneFile>;
  readonly memory: DeviceMemory;
  /** copies of the disks, which run: they are part of the snapshot */
  readonly disks?: DiskCopies | undefined;
  /** called when the RAM is written: the machine may change it from then on */
  readonly onWritten?: (() => Promise<void>) | undefined;
  /** see `SnapshotBase`: of the machine that continues, where that is another one */
  readonly ownPages?: SnapshotBase['ownPages'];
  /** where the RAM at the stop is in files that this process has mapped, and the machine continues */
  readonly frozen?: FrozenRam;
}

/** RAM at the time of a stop. */
export interface FrozenRam {
  /** process in which the addresses of the blocks are */
  readonly pid: number;
  /** pages that were private in QEMU, by name of the block */
  readonly ownPages: ReadonlyMap<string, readonly Extent[]>;
}

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

/** Reads the states of a paused machine. */
async function captureMachine(vm: Vm, machine: Machine): Promise<CapturedMachine> {
  const blocks = await ownBlocks(machine);
  const described = await describeMachine(vm, machine);
  const stream = await whileSaveable(machine, described, () => deviceState(machine, blocks));
  return { ...(await captureRest(vm, machine, blocks)), described, stream };
}

/** Reads the parts of a captured machine that do not change while it runs. */
export async function captureRest(
  vm: Vm,
  machine: Machine,
  blocks: readonly RamBlock[],
): Promise<Omit<CapturedMachine, 'described' | 'stream'>> {
  const config = `${JSON.stringify(encodeVmConfig(portableVmConfig(vm.config)), undefined, 2)}\n`;
  const zones = await zoneFilesOf(machine, blocks);
  return { qemu: machine.qemu, blocks, config, zones, memory: await deviceMemory(machine) };
}

async function writeSnapshot(
  captured: CapturedMachine,
  { path, folder, former, base, amount, durable, signal, tracker, commit }: Writing,
): Promise<SnapshotBase> {
  const { qemu, blocks, described, stream, zones, frozen } = captured;
  log.info(`device state: ${stream.length} bytes`);
  await folder.write(SNAPSHOT_FILES.config, captured.config);
  signal.throwIfAborted();
  const file = await folder.create(SNAPSHOT_FILES.memory);
  await allowQemuToRead(file);
  const { nameless, discarding } = captured.memory;
  const saved = [...blocks.filter(({ planned }) => planned), ...nameless];
  const saving = { blocks: saved, overlaid: discarding, zones, amount, signal };
  const { pid } = frozen ?? qemu;
  tracker.enter('writing memory', amount);
  const saves =
    base === undefined
      ? saveMemory(pid, saving, file)
      : saveDifference(pid, saving, { base, file, own: frozen?.ownPages });
  // not the end of a write to a slow disk: its file is removed at once
  const memory = await abortable(signal, saves);
  const reference = base && (await referenceTo(base, path));
  const description: SavedState = {
    ...described,
    images: withCopies(described.images, captured.disks),
    base: reference,
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
    pid,
    blocks: saved,
    former,
    known: captured.ownPages,
  });
  await captured.onWritten?.();
  if (captured.disks !== undefined) await completeDisks(captured.disks, { tracker, signal });
  if (durable) tracker.enter('waiting for the disk');
  await folder.finish(manifestOf(state, facts), commit);
  return next.complete();
}

async function completeDisks(
  { amount, done }: DiskCopies,
  { tracker, signal }: Pick<Writing, 'tracker' | 'signal'>,
): Promise<void> {
  tracker.enter('copying disks', amount);
  await abortable(signal, done);
}

function factsOf({ qmp }: Machine['qemu'], memorySize: number, { regions, base }: SavedState) {
  return {
    engine: `QEMU ${qmp.version.join('.')}`,
    memorySize,
    regions,
    ...(base && { base }),
  };
}

/** Returns the machine's memory without ivshmem, whose file programs of the host share. */
export async function ownBlocks({ qemu, layout }: Machine): Promise<readonly RamBlock[]> {
  const shared = new Set(
    layout.placements.flatMap(({ device, id }) => device.foreignMemory?.(qemuId(id)) ?? []),
  );
  return (await ramBlocks(qemu.qmp)).filter(({ name }) => !shared.has(name));
}

/** Returns QEMU's device states, with the contents of memory blocks of QEMU itself, e.g. firmware. */
export async function deviceState({ qemu }: Machine, blocks: readonly RamBlock[]): Promise<Buffer> {
  using target = await createMemfd('device-state');
  await using writing = await open(target.path, 'w');
  await writeDeviceState(qemu, writing.fd);
  const roms = readRoms(
    qemu.pid,
    blocks.filter(({ planned }) => !planned),
  );
  return withRoms(await readFile(target.path), roms);
}

/** Reads memory blocks of QEMU itself. The C library must be loaded. @throws the system's error */
export function readRoms(pid: number, blocks: readonly RamBlock[]): Rom[] {
  return blocks.map(({ name, address, length }) => {
    const bytes = Buffer.alloc(length);
    readProcess(pid, [{ address, length }], bytes);
    return { name, bytes };
  });
}
