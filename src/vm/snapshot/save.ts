import { readFile } from 'node:fs/promises';
import { ApiError } from '../../api/errors.ts';
import type { VmSnapshotConfig } from '../../api/requests.ts';
import { encodeVmConfig } from '../../config/vm-config.ts';
import { createMemfd } from '../../host/memfd.ts';
import { openMemory } from '../../host/process-memory.ts';
import { claimFolder, SNAPSHOT_FILES, type NewSnapshot } from '../../host/snapshot-folder.ts';
import { withRoms, writeDeviceState, type Rom } from '../../qemu/device-state.ts';
import { ramBlocks, type RamBlock } from '../../qemu/ram-blocks.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import type { Run } from '../run.ts';
import type { Vm } from '../vm.ts';
import { checkSaveable } from './saveable.ts';
import { describeMachine } from './describe.ts';
import { folderOf } from './location.ts';
import { manifestOf } from './manifest.ts';
import { saveMemory } from './save-memory.ts';
import type { SavedMachine } from './saved-machine.ts';

const log = createLog('snapshot');

/**
 * Writes a snapshot of a paused VM into a directory. The VM stays as it is, whatever happens; where it fails, nothing is left
 * in the directory.
 */
export async function snapshotVm(vm: Vm, run: Run, request: VmSnapshotConfig): Promise<void> {
  const path = folderOf(request.destination_url);
  await checkSaveable(run, 'be in a snapshot');
  const started = performance.now();
  const folder = await claimFolder(path, request).catch((error: unknown) => {
    throw new ApiError('failed', `Destination is not usable: ${reasonOf(error)}`);
  });
  try {
    const bytes = await writeSnapshot(vm, run, folder);
    const took = Math.round(performance.now() - started);
    log.info(`${path}: ${Math.round(bytes / 2 ** 20)} MiB of RAM written in ${took} ms`);
  } catch (error) {
    await folder.discard();
    const cause = new Error(reasonOf(error));
    throw new ApiError('failed', `${path}: the snapshot could not be written`, { cause });
  }
}

async function writeSnapshot(vm: Vm, run: Run, folder: NewSnapshot): Promise<number> {
  const blocks = await ramBlocks(run.qemu.qmp);
  const stream = await deviceState(run, blocks);
  log.info(`device state: ${stream.length} bytes`);
  await folder.write(SNAPSHOT_FILES.config, `${JSON.stringify(encodeVmConfig(vm.config), undefined, 2)}\n`);
  await using file = await folder.create(SNAPSHOT_FILES.memory);
  const saved = blocks.filter(({ planned }) => planned);
  const memory = await saveMemory(run.qemu.pid, saved, file);
  const machine: SavedMachine = {
    ...(await describeMachine(vm, run)),
    regions: [...memory.regions],
    deviceState: stream.toString('base64'),
  };
  const state = JSON.stringify(machine);
  await folder.write(SNAPSHOT_FILES.state, state);
  const { version } = run.qemu.qmp;
  const engine = `QEMU ${version.join('.')}`;
  await folder.finish(manifestOf({ engine, state, memorySize: memory.size, regions: machine.regions }));
  return memory.touched;
}

/** What QEMU tells of the devices, and the memory that it made by itself. */
export async function deviceState({ qemu }: Run, blocks: readonly RamBlock[]): Promise<Buffer> {
  using target = await createMemfd('device-state');
  await writeDeviceState(qemu, target.path);
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
