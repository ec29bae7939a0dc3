import type { VmState } from '../api/replies.ts';
import type { Phase } from '../api/route.ts';

/**
 * Transitions between the states of a VM. Every change of a VM's state goes through {@link phaseAfter}; a change that is not in the table
 * is a fault of this program.
 */
export const TRANSITIONS = {
  /** vm.create */
  create: { none: 'Created' },
  /** vm.boot: the vCPUs run */
  boot: { Created: 'Running', Shutdown: 'Running' },
  /** vm.boot of a VM with `gdb`: the vCPUs wait for the debugger */
  'boot-stopped': { Created: 'Paused', Shutdown: 'Paused' },
  /** vm.pause, `--on-panic pause` */
  pause: { Running: 'Paused' },
  /** vm.resume, vm.boot of a paused VM */
  resume: { Paused: 'Running' },
  /** vm.reboot, a reset by the guest or its watchdog */
  reboot: { Running: 'Running', Paused: 'Running' },
  /** the same with `gdb` or `--on-reboot pause`: the vCPUs wait before their first instruction */
  'reboot-stopped': { Running: 'Paused', Paused: 'Paused' },
  /** vm.restore */
  restore: { none: 'Paused' },
  /** vm.receive-migration */
  'receive-migration': { none: 'Paused' },
  /** vm.send-migration: the guest runs at the destination */
  'send-migration': { Running: 'Paused' },
  /** vm.shutdown, a power-off by the guest, a crash of QEMU, a reboot that fails */
  shutdown: { Running: 'Shutdown', Paused: 'Shutdown' },
  /** vm.delete, vmm.shutdown: a running QEMU exits first */
  delete: { Created: 'none', Running: 'none', Paused: 'none', Shutdown: 'none' },
  /** a debugger stops the vCPUs (QEMU's event STOP) */
  'debugger-stop': { Running: 'Paused' },
  /** a debugger lets the vCPUs continue (QEMU's event RESUME) */
  'debugger-continue': { Paused: 'Running' },
} as const satisfies Readonly<Record<string, Readonly<Partial<Record<Phase, Phase>>>>>;

export type Transition = keyof typeof TRANSITIONS;

/** Transitions after which there is a VM. */
export type StateTransition = Exclude<Transition, 'delete'>;

/**
 * Returns the phase that a transition leads to.
 * @throws Error if the table has no such transition from `phase`
 */
export function phaseAfter(transition: Transition, phase: Phase): Phase {
  const targets: Readonly<Partial<Record<Phase, Phase>>> = TRANSITIONS[transition];
  const target = targets[phase];
  if (target === undefined) throw new Error(`the VM is ${phase}: there is no transition "${transition}"`);
  return target;
}

/** Returns the state that a transition leads to; throws as {@link phaseAfter} does. */
export function stateAfter(transition: StateTransition, phase: Phase): VmState {
  const target = phaseAfter(transition, phase);
  if (target === 'none') throw new Error(`the transition "${transition}" leaves no VM`);
  return target;
}
