import type { Step } from '../../../devices/common/step.ts';
import type { Qemu } from '../../../qemu/process/qemu.ts';
import type { RamBlock } from '../../../qemu/qmp/ram-blocks.ts';
import type { RunningOperation } from '../../../util/operation-tracker.ts';
import { copyThreadPlacement } from '../../affinity/pin-threads.ts';
import { beginStart } from '../../launch/machine-start.ts';
import { planLaunch } from '../../launch/planned-machine.ts';
import { prepareHost } from '../../launch/prepare-host.ts';
import { restoredPlan } from '../../launch/restored-plan.ts';
import { launchMachine } from '../../launch/start-machine.ts';
import { continueHotplug } from '../../machine-state/continue-machine.ts';
import { firmwareToContinue, type MachineDescription } from '../../machine-state/machine-description.ts';
import type { Machine } from '../../machine.ts';
import type { BootedMachine, Vm } from '../../vm.ts';
import { openRamFiles } from './twin-memory.ts';
import { planTwin, withInheritedTaps } from './twin-plan.ts';

/** A second QEMU for a running machine: it waits for the state. Disposal kills it, unless it was kept. */
export interface Twin extends AsyncDisposable {
  readonly machine: Machine;
  /** networks that are still to be made */
  readonly nets: readonly Step[];
  /** blocks of RAM whose private pages are to be copied */
  readonly privately: readonly RamBlock[];
  /** Makes the VM the owner. */
  readonly keep: () => void;
}

/** Input of the start of a twin. */
export interface TwinRequest {
  readonly vm: Vm;
  readonly booted: BootedMachine;
  readonly description: MachineDescription;
  /** RAM of the plan */
  readonly blocks: readonly RamBlock[];
}

/**
 * Starts a second QEMU with the same devices and the same RAM, which it maps privately. It has the host resources of the devices in
 * common with the running QEMU, and uses none of them yet. Rejects with the reason, and leaves no process.
 */
export async function startTwin(request: TwinRequest, { waits, kill }: RunningOperation): Promise<Twin> {
  let qemu: Qemu | undefined;
  const own = (started: Qemu): void => {
    qemu = started;
  };
  const dispose = async (): Promise<void> => qemu?.kill();
  try {
    const launched = await launchTwin(request, { signals: { waits, kill }, own });
    const keep = (): void => {
      qemu = undefined;
    };
    return { ...launched, keep, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

interface Launching {
  readonly signals: Pick<RunningOperation, 'waits' | 'kill'>;
  /** makes the caller the owner of the process */
  readonly own: (qemu: Qemu) => void;
}

async function launchTwin(
  { vm, booted, description, blocks }: TwinRequest,
  { signals, own }: Launching,
): Promise<Pick<Twin, 'machine' | 'nets' | 'privately'>> {
  const { machine: running, consoles } = booted;
  const { config, rawImages, variables: store } = vm;
  await using start = beginStart(signals);
  const files = start.hold(await openRamFiles(running.qemu.pid, blocks));
  const { preparations, layout, acpiPatch, bootConfig, endedBursts } = running;
  const host = await prepareHost(start, {
    config,
    placements: layout.placements,
    rawImages,
    firmware: firmwareToContinue(description),
    variables: { store, saved: { bytes: description.efiVariables } },
    shared: preparations,
  });
  const restored = restoredPlan(planLaunch({ config, bootConfig, layout, acpiPatch }, host), description);
  const { planned, nets } = planTwin(restored, { mapped: files.mapped, files: files.fds, endedBursts });
  const launching = { signals, startedAt: start.startedAt, preparations, ownQemu: own };
  const machine = await launchMachine(launching, planned, consoles);
  await continueHotplug(machine, description);
  continueObserved(machine, running);
  await copyThreadPlacement(running, machine);
  return {
    machine,
    nets: withInheritedTaps(nets, machine.qemu.inheritedAt),
    privately: files.privately,
  };
}

/** Sets the members that the VMM has observed since the start of the running machine. */
function continueObserved(twin: Machine, running: Machine): void {
  twin.hasReleased = running.hasReleased;
  twin.guestFailure = running.guestFailure;
  twin.activeDrivers = running.activeDrivers;
  twin.endedBursts = running.endedBursts;
  twin.hostPorts = running.hostPorts;
}
