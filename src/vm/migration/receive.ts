import { ApiError } from '../../api/errors.ts';
import { receiveMachine } from '../../qemu/qmp/migration.ts';
import { createLog } from '../../util/log.ts';
import type { RunningOperation } from '../../util/operation-tracker.ts';
import { openConsoles } from '../consoles.ts';
import { restoreStates } from '../devices/states.ts';
import { emitRestoring, type OnVmEvent } from '../events.ts';
import { continueHotplug } from '../machine-state/continue-machine.ts';
import { checkSameQemu } from '../machine-state/describe-machine.ts';
import { activateImages, expectedImages } from '../machine-state/images.ts';
import { firmwareToContinue } from '../machine-state/machine-description.ts';
import { restoredBootConfig } from '../machine-state/restored-config.ts';
import { restoredLayout } from '../machine-state/restored-layout.ts';
import { addressOf } from './address.ts';
import { acceptSender, type Sender } from './sender.ts';
import { Vm } from '../vm.ts';
import { completeStart } from '../launch/activate.ts';
import { createVariablesStore, type VariablesStore } from '../launch/efi-variables.ts';
import { beginStart } from '../launch/machine-start.ts';
import { planLaunch } from '../launch/planned-machine.ts';
import { prepareHost } from '../launch/prepare-host.ts';
import { restoredPlan, withoutUnloadedDevices } from '../launch/restored-plan.ts';
import { startMachine } from '../launch/start-machine.ts';

const log = createLog('move');

/**
 * Waits for another VMM that sends its VM, and returns the VM, Paused. Rejects with ApiError, whose reason the sender receives as well,
 * and releases all that it has made; `signals` abort it.
 */
export async function receiveVm(url: string, running: RunningOperation, emit: OnVmEvent): Promise<Vm> {
  const address = addressOf(url);
  log.info(`${url}: waiting for a VM`);
  const { waits, tracker } = running;
  try {
    tracker.enter('waiting for the sender');
    using sender = await acceptSender(url, address, waits);
    return await receiveFrom(sender, running, emit).catch((error: unknown) => {
      sender.refuse(error);
      throw error;
    });
  } catch (error) {
    throw new ApiError('failed', `${url}: no VM could be received`, { cause: error });
  }
}

async function receiveFrom(sender: Sender, running: RunningOperation, emit: OnVmEvent): Promise<Vm> {
  const variables = createVariablesStore();
  try {
    return await receiveWith(variables, sender, running, emit);
  } catch (error) {
    variables[Symbol.dispose]();
    throw error;
  }
}

async function receiveWith(
  store: VariablesStore,
  sender: Sender,
  running: RunningOperation,
  emit: OnVmEvent,
): Promise<Vm> {
  const { config, description } = await sender.readOffer();
  emitRestoring(emit, config, 'before activated');
  const rawImages = new Set<string>();
  await using start = beginStart(running);
  const bootConfig = restoredBootConfig(config, description);
  const layout = restoredLayout(config, description);
  const consoles = start.own(await openConsoles(config));

  const firmware = firmwareToContinue(description);
  const images = expectedImages(description, config);
  const { placements } = layout;
  const variables = { store, saved: { bytes: description.efiVariables } };
  const host = await prepareHost(start, { config, placements, rawImages, firmware, variables, images });

  const { acpiPatch } = description;
  const restored = restoredPlan(planLaunch({ config, bootConfig, layout, acpiPatch }, host), description);
  const planned = withoutUnloadedDevices(restored);

  const machine = await startMachine(start, planned, consoles);

  checkSameQemu(machine, description, 'The VM cannot be received');
  await continueHotplug(machine, description);
  running.tracker.enter('receiving memory');
  await receiveMachine(machine.qemu, await sender.accept());
  running.tracker.commit('The VM was received: the sender has stopped it');
  await activateImages(machine);
  await restoreStates(machine, description);

  const booted = completeStart(start, { consoles, machine }, planned.accelerator);
  log.info(`received in ${Math.round(performance.now() - start.startedAt)} ms`);
  return Vm.adopt(booted, 'receive-migration', { rawImages, variables: store });
}
