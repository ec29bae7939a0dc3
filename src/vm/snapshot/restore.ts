import { ApiError } from '../../api/errors.ts';
import type { RestoreConfig } from '../../api/requests.ts';
import { zonesOf } from '../../devices/memory/zones.ts';
import { createLog } from '../../util/log.ts';
import type { ShutdownSignals } from '../../util/shutdown-signals.ts';
import { openConsoles } from '../consoles.ts';
import { emitRestoring, type OnVmEvent } from '../events.ts';
import { withExitReason } from '../guest-exit/qemu-exit.ts';
import { checkSameQemu } from '../machine-state/describe-machine.ts';
import { firmwareToContinue } from '../machine-state/machine-description.ts';
import { restoredBootConfig } from '../machine-state/restored-config.ts';
import { restoredLayout } from '../machine-state/restored-layout.ts';
import { loadSnapshot } from './load-snapshot.ts';
import { chooseMemorySource, openMemoryFiles, withMemorySource } from './memory-source.ts';
import { readSnapshot, type Snapshot } from './read-snapshot.ts';
import { Vm, type BootedMachine } from '../vm.ts';
import { completeStart } from '../launch/activate.ts';
import { createVariablesStore, type VariablesStore } from '../launch/efi-variables.ts';
import { beginStart } from '../launch/machine-start.ts';
import { planLaunch } from '../launch/planned-machine.ts';
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
  signals: ShutdownSignals,
  emit: OnVmEvent,
): Promise<Vm> {
  const startedAt = performance.now();
  const snapshot = await readSnapshot(request);
  const { folder, config } = snapshot;
  emitRestoring(emit, config, 'before activated');
  const rawImages = new Set<string>();
  const variables = createVariablesStore();
  const prefault = request.prefault || zonesOf(config.memory).some((zone) => zone.prefault);
  try {
    const booted = await restoreMachine(snapshot, { rawImages, variables, prefault, signals });
    log.info(`${folder}: restored in ${Math.round(performance.now() - startedAt)} ms`);
    return Vm.adopt(booted, 'restore', { rawImages, variables });
  } catch (error) {
    variables[Symbol.dispose]();
    if (error instanceof ApiError) throw error;
    throw new ApiError('failed', `${folder}: the snapshot cannot be restored`, { cause: error });
  }
}

interface RestoreOptions {
  readonly rawImages: Set<string>;
  readonly variables: VariablesStore;
  readonly prefault: boolean;
  readonly signals: ShutdownSignals;
}

async function restoreMachine(
  snapshot: Snapshot,
  { rawImages, variables: store, prefault, signals }: RestoreOptions,
): Promise<BootedMachine> {
  const { config, images } = snapshot;
  const { description } = snapshot.state;
  await using start = beginStart(signals);
  const consoles = start.own(await openConsoles(config));
  const bootConfig = restoredBootConfig(config, description);
  const layout = restoredLayout(config, description);
  const files = start.hold(await openMemoryFiles(snapshot));

  const firmware = firmwareToContinue(description);
  const { placements } = layout;
  const variables = { store, saved: { bytes: description.efiVariables } };
  const host = await prepareHost(start, { config, placements, rawImages, firmware, variables, images });

  const { acpiPatch } = description;
  const restored = restoredPlan(planLaunch({ config, bootConfig, layout, acpiPatch }, host), description);
  const memory = chooseMemorySource(restored, snapshot, files);
  const planned = withoutUnloadedDevices(withMemorySource(restored, memory, files));

  const machine = await startMachine(start, planned, consoles);

  checkSameQemu(machine, description, 'The snapshot cannot be restored');
  await withExitReason(machine.qemu, () =>
    loadSnapshot(machine, { snapshot, memory, prefault, signal: signals.kill }),
  );

  return completeStart(start, { consoles, machine }, planned.accelerator);
}
