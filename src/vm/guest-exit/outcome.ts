import type { QemuExit } from '../../qemu/process/exit.ts';

/** Values of `--on-panic` and `--on-reboot`. */
export const GUEST_ACTIONS = ['exit', 'restart', 'pause'] as const;
export type GuestAction = (typeof GUEST_ACTIONS)[number];

/** Consequences of an exit of QEMU, and of a panic of the guest, for VM and VMM. */
export interface ExitPolicies {
  /** undefined: the guest decides, e.g. resets itself */
  readonly onPanic: GuestAction | undefined;
  readonly onReboot: GuestAction;
  /** after a power-off by the guest the VM is Shutdown and the VMM continues */
  readonly staysUp: boolean;
  /** the API is served: a VM that is shut down can be booted again */
  readonly isServed: boolean;
}

export const PANIC = 'the guest’s kernel panicked';

/** Consequence of an exit. `problem` is the reason of a failure; with `exit` the VMM's exit code is 1. */
export interface Outcome {
  /** `stop`: the VM is Shutdown, the VMM continues */
  readonly action: GuestAction | 'stop';
  readonly problem?: string;
  /** QEMU exited unexpectedly, or a reboot failed */
  readonly isCrash?: boolean;
}

/**
 * Decides the consequence of an exit without a request. A reset after a failure of the guest is a failure, too; `guestFailure` is the
 * reason of that failure.
 */
export function outcomeOf(
  { reason, detail }: QemuExit,
  guestFailure: string | undefined,
  { onReboot, staysUp, isServed }: ExitPolicies,
): Outcome {
  switch (reason) {
    case 'power-off':
      return { action: staysUp ? 'stop' : 'exit' };
    case 'reset': {
      const isFailure = onReboot === 'exit' && guestFailure !== undefined;
      return {
        action: onReboot,
        ...(isFailure && { problem: `${guestFailure}, and the machine was reset` }),
      };
    }
    case 'quit':
    case 'crash':
      return outcomeOfCrash(`QEMU ended unexpectedly (${detail})`, isServed);
  }
}

/** Returns the consequence of a crash: a VMM without an API socket exits. */
export function outcomeOfCrash(problem: string, isServed: boolean): Outcome {
  return { action: isServed ? 'stop' : 'exit', problem, isCrash: true };
}
