import { ApiError } from '../../api/errors.ts';
import { toApiError } from '../../api/handlers.ts';
import type { RestoreConfig } from '../../api/requests.ts';
import { join } from 'node:path';
import { ConfigError } from '../../config/errors.ts';
import { zonesOf } from '../../devices/memory/zones.ts';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { type VmConfig } from '../../config/vm-config.ts';
import { createMemfd } from '../../native/memfd.ts';
import { checkDirectory, SNAPSHOT_FILES } from '../../host/files/snapshot-folder.ts';
import { readDeviceState } from '../../qemu/qmp/device-state.ts';
import type { ShutdownSignals } from '../../util/shutdown-signals.ts';
import { createLog } from '../../util/log.ts';
import { open, writeFile } from 'node:fs/promises';
import { openConsoles } from '../consoles.ts';
import { withExitReason } from '../guest-exit/qemu-exit.ts';
import type { ExpectedImage } from '../devices/disk/expected-image.ts';
import type { Machine } from '../machine.ts';
import { launchMachine } from '../launch/machine.ts';
import { Vm } from '../vm.ts';
import { checkEngine } from '../machine-state/describe-machine.ts';
import { firstDifference, shapeOf } from '../machine-state/editable-config.ts';
import { pathOf } from './url-path.ts';
import { read, readChecked } from './manifest.ts';
import { openForEngine } from '../launch/passed-files.ts';
import { activateImages, expectedImages } from '../machine-state/images.ts';
import { likeStart } from '../machine-state/restored-machine.ts';
import { withOverrides } from './overrides.ts';
import { fillMemory, mapMemory, touchMemory, withMapped, type MemorySource } from './restore-memory.ts';
import { planWithoutStates, restoreStates } from '../devices/states.ts';
import { parseSavedMachine, type SavedMachine } from '../machine-state/machine-description.ts';
import { zoneRegions } from './zone-files.ts';

const log = createLog('restore');

/** A snapshot as it was read and found whole. */
interface Snapshot {
  readonly folder: string;
  readonly config: VmConfig;
  readonly description: SavedMachine;
  readonly images: ReadonlyMap<string, ExpectedImage>;
}

/**
 * Makes the VM of a snapshot, Paused. Rejects with ApiError, naming what is wrong with the snapshot or which device could
 * not be made, and leaves nothing behind. `onConfig` is called with the configuration before anything is made from it.
 */
export async function restoreVm(
  request: RestoreConfig,
  signals: ShutdownSignals,
  onConfig: (config: VmConfig) => void,
): Promise<Vm> {
  const started = performance.now();
  const snapshot = await readSnapshot(request);
  onConfig(snapshot.config);
  const consoles = await openConsoles(snapshot.config);
  const rawImages = new Set<string>();
  try {
    const { prefault } = request;
    const machine = await restoreMachine(snapshot, { consoles, prefault, rawImages, signals });
    const vm = Vm.adopt({ consoles, machine }, 'restore', rawImages);
    log.info(`${snapshot.folder}: restored in ${Math.round(performance.now() - started)} ms`);
    return vm;
  } catch (error) {
    consoles.dispose();
    if (error instanceof ApiError) throw error;
    throw new ApiError('failed', `${snapshot.folder}: the snapshot cannot be restored`, { cause: error });
  }
}

async function readSnapshot({ source_url: url, overrides }: RestoreConfig): Promise<Snapshot> {
  const folder = pathOf(url, 'directory');
  try {
    await checkDirectory(folder);
    const { state, memoryBytes } = await readChecked(folder);
    const path = join(folder, SNAPSHOT_FILES.config);
    const saved = readConfig(path, await read(folder, SNAPSHOT_FILES.config));
    const config = withOverrides(saved, overrides);
    const description = readMachine(folder, state, memoryBytes);
    // an older snapshot has in it what may be edited today
    const edited = firstDifference(shapeOf(description.shape), shapeOf(config));
    if (edited !== undefined) throw new Error(`${path}: the machine would be another: ${edited}`);
    return { folder, config, description, images: expectedImages(description, saved, overrides) };
  } catch (error) {
    if (error instanceof ApiError) throw error;
    // what is wrong with the snapshot's own configuration was put into words; this is the request's
    if (error instanceof ConfigError) throw toApiError(error);
    throw new ApiError('failed', 'The snapshot cannot be restored', { cause: error });
  }
}

function readMachine(folder: string, text: string, memoryBytes: number): SavedMachine {
  try {
    return parseSavedMachine(text, memoryBytes);
  } catch (error) {
    throw new Error(`${join(folder, SNAPSHOT_FILES.state)}: cannot be used`, { cause: error });
  }
}

function readConfig(path: string, text: string): VmConfig {
  try {
    const { config, warnings } = decodeVmConfig(JSON.parse(text));
    for (const warning of warnings) log.warn(`${path}: ${warning}`);
    return config;
  } catch (error) {
    throw new Error(`${path}: cannot be used`, { cause: error });
  }
}

interface Restoring extends Pick<Vm, 'rawImages'> {
  readonly consoles: Awaited<ReturnType<typeof openConsoles>>;
  readonly prefault: boolean;
  readonly signals: ShutdownSignals;
}

async function restoreMachine(
  { folder, config, description, images }: Snapshot,
  { consoles, prefault, rawImages, signals }: Restoring,
): Promise<Machine> {
  const start = likeStart(config, description, rawImages);
  const path = join(folder, SNAPSHOT_FILES.memory);
  const zones = await zoneRegions(config, description.regions);
  const inSnapshot = description.regions.some(({ zone }) => zone === undefined) ? [path] : [];
  const inZones = zones.flatMap(({ zone }) => (zone.shared ? [] : [zone.file]));
  await using files = await openForEngine([...inSnapshot, ...inZones]);
  const { isMappable } = files;
  let memory: MemorySource = { path, mapped: [], copied: [], overlays: description.overlays };
  return await launchMachine(
    {
      ...start,
      images,
      adapt: (plan) => {
        const like = start.adapt(plan);
        const from = { memory: config.memory, path, zones, isMappable };
        memory = { ...memory, ...mapMemory(like, description.regions, from) };
        const handed = new Map([...like.handed, ...files.fds]);
        return planWithoutStates({ ...like, ...withMapped(like, memory), handed }, start.layout);
      },
      begin: (machine) =>
        withExitReason(machine.qemu, async () => {
          checkEngine(machine, description, 'The snapshot cannot be restored');
          await start.begin(machine);
          await fillMemory(machine, memory, signals.kill);
          await loadState(machine, folder, description);
          await activateImages(machine);
          await restoreStates(machine, description);
          if (prefault || isPrefaulted(config)) await touchMemory(machine, memory, signals.kill);
        }),
    },
    consoles,
    signals,
  );
}

/** What the configuration asks of a boot counts for a restore as well. */
function isPrefaulted({ memory }: VmConfig): boolean {
  return zonesOf(memory).some((zone) => zone.prefault);
}

async function loadState({ qemu }: Machine, folder: string, { deviceState }: SavedMachine): Promise<void> {
  using source = await createMemfd('device-state');
  await writeFile(source.path, Buffer.from(deviceState, 'base64'));
  await using reading = await open(source.path, 'r');
  await readDeviceState(qemu, reading.fd).catch((error: unknown) => {
    const path = join(folder, SNAPSHOT_FILES.state);
    throw new ApiError('failed', `${path}: the state of the devices could not be loaded`, { cause: error });
  });
}
