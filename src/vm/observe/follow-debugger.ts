import type { Vm } from '../vm.ts';

/** Follows a debugger, which stops and continues the vCPUs without the VMM: `event` is one of QEMU's. */
export function followDebugger(vm: Vm, event: string): void {
  if (event === 'STOP' && vm.state === 'Running') vm.change('debugger-stop');
  if (event === 'RESUME' && vm.state === 'Paused') vm.change('debugger-continue');
}
