import type { Step } from '../../devices/common/step.ts';
import { planWithoutStates } from '../devices/states.ts';
import { contiguousVcpus } from '../machine-state/continue-machine.ts';
import type { MachineDescription } from '../machine-state/machine-description.ts';
import { planDimm } from '../../plan/memory-steps.ts';
import type { PlannedMachine } from './planned-machine.ts';

/**
 * Returns the plan of a machine that continues from the state of another machine. QEMU waits for the state; hot-plugged DIMMs and all
 * memory devices have the guest addresses that they had. Pure.
 */
export function restoredPlan(
  planned: PlannedMachine,
  description: Pick<MachineDescription, 'vcpus' | 'dimms' | 'memoryAddresses'>,
): PlannedMachine {
  const { config, plan } = planned;
  const dimms = description.dimms.flatMap((size, i) => planDimm(i, size, config));
  const steps = [...plan.steps, ...dimms].map((step) => addressed(step, description.memoryAddresses));
  const smp = { ...plan.smp, cpus: contiguousVcpus(description.vcpus) };
  return { ...planned, plan: { ...plan, steps, smp, incoming: true } };
}

/** Returns the plan without devices whose state QEMU does not load: `restoreStates` makes them after the load. */
export function withoutUnloadedDevices(planned: PlannedMachine): PlannedMachine {
  return { ...planned, plan: planWithoutStates(planned.plan, planned.layout) };
}

/** Returns the step of a memory device with its guest address. */
function addressed(step: Step, addresses: Readonly<Record<string, number>>): Step {
  if (step.kind !== 'device' || step.props.id === undefined) return step;
  const address = addresses[step.props.id];
  if (address === undefined) return step;
  const property = step.props.driver === 'pc-dimm' ? 'addr' : 'memaddr';
  return { ...step, props: { ...step.props, [property]: address } };
}
