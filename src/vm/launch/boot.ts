import type { VmConfig } from '../../config/vm-config.ts';
import { placeDevices } from '../../plan/placement.ts';
import type { ShutdownSignals } from '../../util/shutdown-signals.ts';
import { openConsoles, type Consoles } from '../consoles.ts';
import type { HostPorts } from '../devices/net/host-ports.ts';
import { lifecycleEvent, type OnVmEvent } from '../events.ts';
import type { BootedMachine } from '../vm.ts';
import { chooseAcpiPatch } from './acpi-patch.ts';
import { completeStart, startGuest } from './activate.ts';
import { withFirmwarePath, type VariablesStore } from './efi-variables.ts';
import { beginStart } from './machine-start.ts';
import { planLaunch } from './planned-machine.ts';
import { prepareHost } from './prepare-host.ts';
import { startMachine } from './start-machine.ts';

/*
 * Launch: the start of a machine, as a sequence of plain calls. Three recipes use the same steps:
 *
 *   step              file                                      boot    snapshot/restore.ts    migration/receive.ts
 *   own resources     machine-start.ts                           x              x                      x
 *   place devices     plan/placement.ts, restored-layout.ts      x              x                      x
 *   prepare the host  prepare-host.ts                            x              x                      x
 *   plan              planned-machine.ts, restored-plan.ts       x              x                      x
 *   start QEMU        start-machine.ts                           x              x                      x
 *   load the state    load-snapshot.ts, qemu/qmp/migration.ts                   x                      x
 *   activate          activate.ts                                x              x                      x
 *
 * Invariants: until `complete`, a `MachineStart` owns all resources of the start and releases them if the start fails. The plan
 * is made once; the steps of each device and the layout of RAM stay with the machine. No function here changes the VM.
 */

/** A boot or a reboot. */
export interface BootRequest {
  readonly config: VmConfig;
  /** see `Vm` */
  readonly rawImages: Set<string>;
  /** see `Vm` */
  readonly variables: VariablesStore;
  readonly signals: ShutdownSignals;
  readonly emit: OnVmEvent;
  /** the vCPUs stay stopped before their first instruction */
  readonly startsPaused?: boolean;
  /** consoles and host ports of the machine that this one replaces */
  readonly previous?: { readonly consoles: Consoles; readonly hostPorts: HostPorts };
}

/**
 * Boots a machine: the vCPUs run when this returns, unless they are to wait.
 * Rejects with ApiError `failed`, naming device and path, and releases all that it has made; `signals` abort it.
 */
export async function bootMachine(request: BootRequest): Promise<BootedMachine> {
  const { rawImages, variables, signals, emit, startsPaused = false, previous } = request;
  const config = await withFirmwarePath(request.config);
  await using start = beginStart(signals);
  const consoles = previous?.consoles ?? start.own(await openConsoles(config));
  const layout = placeDevices(config);

  const host = await prepareHost(start, {
    config,
    placements: layout.placements,
    rawImages,
    variables: { store: variables },
    hostPorts: previous?.hostPorts ?? new Map(),
  });

  const acpiPatch = chooseAcpiPatch(config, host);
  const planned = planLaunch({ config, bootConfig: config, layout, acpiPatch }, host);

  const machine = await startMachine(start, planned, consoles);

  emit(lifecycleEvent('booting'));
  await startGuest(machine, startsPaused);
  emit(lifecycleEvent('booted'));

  return completeStart(start, { consoles, machine }, planned.accelerator);
}
