import type { VmConfig } from '../../config/vm-config.ts';
import type { BootSource, MachinePlan } from '../../devices/common/machine-plan.ts';
import type { Accelerator } from '../../host/system/accelerator.ts';
import type { AcpiPatch } from '../../plan/acpi-patch.ts';
import { planMachine, planParts, type PlannedParts } from '../../plan/machine-plan.ts';
import type { Layout } from '../../plan/placement.ts';
import type { BootConfig, Machine } from '../machine.ts';
import type { PreparedHost } from './prepare-host.ts';

/** A machine that is about to be started. */
export interface MachineDesign {
  /** the VM's configuration, whose items the placements hold */
  readonly config: VmConfig;
  /** vCPUs, RAM and NUMA nodes at the start */
  readonly bootConfig: BootConfig;
  readonly layout: Layout;
  readonly acpiPatch: AcpiPatch | undefined;
}

/** A design with the plan that QEMU is started with. */
export interface PlannedMachine extends MachineDesign, PlannedParts {
  readonly plan: MachinePlan;
  readonly accelerator: Accelerator;
  readonly firmware: Machine['firmware'];
  readonly efiVariables: Machine['efiVariables'];
  readonly kernelEntry: Machine['kernelEntry'];
}

/** Plans a machine. Pure. */
export function planLaunch(design: MachineDesign, host: PreparedHost): PlannedMachine {
  const { config, bootConfig, layout, acpiPatch } = design;
  const atStart = { ...config, ...bootConfig };
  const facts = { ...host, acpiPatch };
  const parts = planParts(atStart, layout.placements, facts);
  const plan = planMachine(atStart, layout.placements, facts, parts);
  const { accelerator, kernel } = host;
  return {
    ...design,
    ...parts,
    plan,
    accelerator,
    firmware: firmwareOf(plan.boot),
    efiVariables: host.efiVariables,
    kernelEntry: kernel.kind === 'none' ? undefined : kernel.entry,
  };
}

function firmwareOf(boot: BootSource): Machine['firmware'] {
  return boot.kind === 'firmware' ? 'own' : boot.firmware;
}
