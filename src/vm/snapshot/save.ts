import { open, readFile } from 'node:fs/promises';
import { ApiError } from '../../api/errors.ts';
import type { VmSnapshotConfig } from '../../api/requests.ts';
import { encodeVmConfig, portableVmConfig } from '../../config/vm-config.ts';
import type { Amount } from '../../host/memory/copy-extents.ts';
import { createMemfd } from '../../native/memfd.ts';
import { openMemory } from '../../host/memory/process-memory.ts';
import {
  claimSnapshotFolder,
  flush,
  SNAPSHOT_FILES,
  type NewSnapshot,
} from '../../host/files/snapshot-folder.ts';
import { qemuId } from '../../plan/placement.ts';
import { withRoms, writeDeviceState, type Rom } from '../../qemu/qmp/device-state.ts';
import { ramBlocks, type RamBlock } from '../../qemu/qmp/ram-blocks.ts';
import type { ShutdownSignals } from '../../util/shutdown-signals.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { shownAmount, logProgress } from '../progress.ts';
import { allowQemuToRead } from '../machine-state/mappable-files.ts';
import type { Machine } from '../machine.ts';
import type { Vm } from '../vm.ts';
import { checkSaveable } from '../machine-state/saveable.ts';
import { describeMachine } from '../machine-state/describe-machine.ts';
import { pathOf } from './url-path.ts';
import { manifestOf, withFacts } from './manifest.ts';
import { deviceMemory, whileSaveable } from '../devices/states.ts';
import { saveMemory } from './save-memory.ts';
import type { SavedState } from './snapshot-state.ts';
import { zoneFilesOf } from './zone-files.ts';

/*
 * Snapshots: a directory with `config.json`, `state.json`, `memory-ranges` and `manifest.json`.
 *
 *   save.ts            vm.snapshot of a paused VM; save-memory.ts: its RAM
 *   restore.ts         vm.restore, a recipe of launch/
 *   read-snapshot.ts   checks a snapshot: manifest.ts, snapshot-state.ts, overrides.ts
 *   memory-source.ts   decides whether RAM is mapped or copied: restore-memory.ts, zone-files.ts
 *   load-snapshot.ts   loads RAM and states into the machine
 *
 * Invariants: the manifest is written last, so a directory without it is no complete snapshot. Files of a snapshot are never changed:
 * clones map them privately. The whole snapshot is checked before a machine is made from it.
 */

const log = createLog('snapshot');

/**
 * Writes a snapshot of a paused VM into a directory. The VM is unchanged afterwards. If it rejects, the directory is empty again.
 */
export async function snapshotVm(
  vm: Vm,
  machine: Machine,
  request: VmSnapshotConfig,
  { kill: signal }: ShutdownSignals,
): Promise<void> {
  const path = pathOf(request.destination_url, 'directory');
  await checkSaveable(machine, 'be in a snapshot');
  const started = performance.now();
  const amount = { done: 0, total: 0 };
  using _progress = logProgress(log, () => `${path}: ${shownAmount(amount)} of touched RAM is written`);
  const folder = await claimSnapshotFolder(path, request).catch((error: unknown) => {
    throw new ApiError('failed', `Destination is not usable: ${reasonOf(error)}`, { cause: error });
  });
  try {
    await writeSnapshot(vm, machine, { folder, amount, durable: request.durable, signal });
    const took = Math.round(performance.now() - started);
    log.info(`${path}: ${Math.round(amount.done / 2 ** 20)} MiB of RAM written in ${took} ms`);
  } catch (error) {
    await folder.discard();
    const cause = new Error(reasonOf(error), { cause: error });
    throw new ApiError('failed', `${path}: the snapshot could not be written`, { cause });
  }
}

interface Writing {
  readonly folder: NewSnapshot;
  readonly amount: Amount;
  readonly durable: boolean;
  readonly signal: AbortSignal;
}

async function writeSnapshot(
  vm: Vm,
  machine: Machine,
  { folder, amount, durable, signal }: Writing,
): Promise<void> {
  const blocks = await ownBlocks(machine);
  const described = await describeMachine(vm, machine);
  const stream = await whileSaveable(machine, described, () => deviceState(machine, blocks));
  log.info(`device state: ${stream.length} bytes`);
  const config = encodeVmConfig(portableVmConfig(vm.config));
  await folder.write(SNAPSHOT_FILES.config, `${JSON.stringify(config, undefined, 2)}\n`);
  await using file = await folder.create(SNAPSHOT_FILES.memory);
  await allowQemuToRead(file);
  const { nameless, discarding } = await deviceMemory(machine);
  const saved = [...blocks.filter(({ planned }) => planned), ...nameless];
  const zones = await zoneFilesOf(machine, blocks);
  const saving = { blocks: saved, overlaid: discarding, zones, amount, signal };
  const memory = await saveMemory(machine.qemu.pid, saving, file);
  const description: SavedState = {
    ...described,
    regions: [...memory.regions],
    overlays: [...memory.overlays],
    deviceState: stream.toString('base64'),
  };
  for (const { zone, path } of zones.values()) {
    log.warn(`memory zone ${zone}: ${path} is part of the snapshot; a guest that runs on changes it`);
    if (durable) await flush(path);
  }
  const writer = `QEMU ${machine.qemu.qmp.version.join('.')}`;
  const facts = { engine: writer, memorySize: memory.size, regions: description.regions };
  const state = withFacts(JSON.stringify(description), facts);
  await folder.write(SNAPSHOT_FILES.state, state);
  await folder.finish(manifestOf(state, facts));
}

/** Returns the machine's memory without ivshmem, whose file programs of the host share. */
async function ownBlocks({ qemu, layout }: Machine): Promise<readonly RamBlock[]> {
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
  const roms = await readRoms(
    qemu.pid,
    blocks.filter(({ planned }) => !planned),
  );
  return withRoms(await readFile(target.path), roms);
}

async function readRoms(pid: number, blocks: readonly RamBlock[]): Promise<Rom[]> {
  await using memory = await openMemory(pid, 'r');
  const roms: Rom[] = [];
  for (const { name, address, length } of blocks) {
    const bytes = Buffer.alloc(length);
    const { bytesRead } = await memory.read(bytes, 0, length, address);
    if (bytesRead !== length) throw new Error(`${name} could not be read`);
    roms.push({ name, bytes });
  }
  return roms;
}
