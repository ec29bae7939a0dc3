import type { Vm } from '../vm.ts';

/** A debugger stops the vCPUs and lets them go on without the VMM's doing. */
export function followDebugger(vm: Vm, event: string): void {
  if (event === 'STOP') vm.state = 'Paused';
  if (event === 'RESUME') vm.state = 'Running';
}
