import { ApiError } from '../../api/errors.ts';
import type { RestoreConfig } from '../../api/requests.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { zonesOf } from '../../devices/memory/zones.ts';
import type { StartingQemu } from '../../qemu/process/qemu.ts';
import { createCleanupStack } from '../../util/cleanup-stack.ts';
import { createLog } from '../../util/log.ts';
import type { RunningOperation } from '../../util/operation-tracker.ts';
import { reserveThreads } from '../../util/start-thread.ts';
import { threadsOf } from '../devices/early-threads.ts';
import { openConsoles } from '../consoles.ts';
import { emitRestoring, type OnVmEvent } from '../events.ts';
import { withExitReason } from '../guest-exit/qemu-exit.ts';
import { checkSameQemu } from '../machine-state/describe-machine.ts';
import { firmwareToContinue } from '../machine-state/machine-description.ts';
import { isAccessible } from '../memory-access.ts';
import { restoredBootConfig } from '../machine-state/restored-config.ts';
import { restoredLayout } from '../machine-state/restored-layout.ts';
import { baseOfRestore } from './chain/snapshot-base.ts';
import { loadSnapshot } from './load-snapshot.ts';
import {
  chooseMemorySource,
  openMemoryFiles,
  ReplacedSnapshotError,
  withMemorySource,
  type MemoryFiles,
} from './memory-source.ts';
import { readSnapshot, type Snapshot } from './read-snapshot.ts';
import { openStateFile, type StateFile } from './state-file.ts';
import { Vm, type BootedMachine } from '../vm.ts';
import { completeStart } from '../launch/activate.ts';
import { createVariablesStore, type VariablesStore } from '../launch/efi-variables.ts';
import { beginStart } from '../launch/machine-start.ts';
import { planLaunch, type PlannedMachine } from '../launch/planned-machine.ts';
import { prepareHost } from '../launch/prepare-host.ts';
import { restoredPlan, withoutUnloadedDevices } from '../launch/restored-plan.ts';
import { startMachine } from '../launch/start-machine.ts';

const log = createLog('restore');

/**
 * Restores the VM of a snapshot, Paused. Rejects with ApiError, naming the invalid part of the snapshot or the device that cannot be
 * made, and releases all its resources.
 */
export async function restoreVm(
  request: RestoreConfig,
  running: RunningOperation,
  emit: OnVmEvent,
): Promise<Vm> {
  const startedAt = performance.now();
  await using threads = createCleanupStack();
  const reserve = (found: VmConfig): void => void threads.use(reserveThreads(threadsOf(found)));
  await using opened = await openSnapshot(request, reserve);
  const { snapshot, files } = opened;
  const { folder, config } = snapshot;
  emitRestoring(emit, config, 'before activated');
  const rawImages = new Set<string>();
  const variables = createVariablesStore();
  const prefault = request.prefault || zonesOf(config.memory).some((zone) => zone.prefault);
  try {
    const booted = await restoreMachine(snapshot, { files, rawImages, variables, prefault, running });
    log.info(`${folder}: restored in ${Math.round(performance.now() - startedAt)} ms`);
    return Vm.adopt(booted, 'restore', { rawImages, variables });
  } catch (error) {
    variables[Symbol.dispose]();
    if (error instanceof ApiError) throw error;
    throw new ApiError('failed', `${folder}: the snapshot cannot be restored`, { cause: error });
  }
}

/** A snapshot that was read, and its open files. */
interface OpenSnapshot extends AsyncDisposable {
  readonly snapshot: Snapshot;
  readonly files: MemoryFiles;
}

/** Times that a snapshot is read again, because its files were replaced by composed ones meanwhile. */
const ATTEMPTS = 3;

/** `onConfig` gets the configuration as soon as it is read, once. */
async function openSnapshot(
  request: RestoreConfig,
  onConfig: (config: VmConfig) => void,
): Promise<OpenSnapshot> {
  for (let attempt = 1; ; attempt++) {
    const snapshot = await readSnapshot(request, attempt === 1 ? onConfig : undefined);
    try {
      const files = await openMemoryFiles(snapshot);
      return { snapshot, files, [Symbol.asyncDispose]: () => files[Symbol.asyncDispose]() };
    } catch (error) {
      if (error instanceof ReplacedSnapshotError && attempt < ATTEMPTS) continue;
      if (error instanceof ApiError) throw error;
      throw new ApiError('failed', 'The snapshot cannot be restored', { cause: error });
    }
  }
}

interface RestoreOptions {
  readonly files: MemoryFiles;
  readonly rawImages: Set<string>;
  readonly variables: VariablesStore;
  readonly prefault: boolean;
  readonly running: RunningOperation;
}

async function restoreMachine(
  snapshot: Snapshot,
  { files, rawImages, variables: store, prefault, running }: RestoreOptions,
): Promise<BootedMachine> {
  const { config, images } = snapshot;
  const { description } = snapshot.state;
  await using start = beginStart(running);
  const consoles = start.own(await openConsoles(config));
  const bootConfig = restoredBootConfig(config, description);
  const layout = restoredLayout(config, description);

  const firmware = firmwareToContinue(description);
  const { placements } = layout;
  const variables = { store, saved: { bytes: description.efiVariables } };
  const host = await prepareHost(start, { config, placements, rawImages, firmware, variables, images });

  const { acpiPatch } = description;
  const restored = restoredPlan(planLaunch({ config, bootConfig, layout, acpiPatch }, host), description);
  const memory = chooseMemorySource(restored, snapshot, files, await isAccessible(restored.plan.steps));
  const stateFile = start.hold(await openStateFile());
  const planned = withStateFile(withoutUnloadedDevices(withMemorySource(restored, memory, files)), stateFile);

  const onMemory = (qemu: StartingQemu): void => memory.newer.begin(qemu, memory.mapped);
  const machine = await stateFile.writeWhile(snapshot.state.deviceState, () =>
    startMachine({ ...start, onMemory }, planned, consoles),
  );

  checkSameQemu(machine, description, 'The snapshot cannot be restored');
  const load = { snapshot, memory, prefault, running };
  await withExitReason(machine.qemu, () => loadSnapshot(machine, load), snapshot.folder);

  const mapped = new Set(memory.mapped.map(({ id }) => id));
  machine.snapshotBase = baseOfRestore(snapshot.sha256, snapshot.chain, mapped);

  return completeStart(start, { consoles, machine }, planned.accelerator);
}

/** Returns the planned machine whose QEMU inherits the file with the state of the devices. */
function withStateFile(planned: PlannedMachine, { fd }: StateFile): PlannedMachine {
  return { ...planned, plan: { ...planned.plan, stateFile: fd } };
}
