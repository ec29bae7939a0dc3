import type { QemuEnd } from '../../qemu/process/qemu.ts';

/** What `--on-panic` and `--on-reboot` can ask for. */
export const GUEST_ACTIONS = ['exit', 'restart', 'pause'] as const;
export type GuestAction = (typeof GUEST_ACTIONS)[number];

/** What the ends of a machine, and a panic of its guest, mean for VM and VMM. */
export interface ExitPolicies {
  /** undefined: the guest decides what follows, e.g. a reset */
  readonly onPanic: GuestAction | undefined;
  readonly onReboot: GuestAction;
  /** a guest that powers itself off shuts its VM down only */
  readonly staysUp: boolean;
  /** the API is served: a VM that is shut down can be booted again */
  readonly isServed: boolean;
}

export const PANIC = 'the guest’s kernel panicked';

/** What follows a machine's end. `problem` is what went wrong, and with `exit` makes the exit code 1. */
export interface Outcome {
  /** `stop`: the VM is Shutdown, the VMM goes on */
  readonly action: GuestAction | 'stop';
  readonly problem?: string;
  /** the machine is gone against all wishes */
  readonly isCrash?: boolean;
}

/**
 * Decides what follows an end without a request. A reset by which the guest's kernel or its watchdog answers a failure is a
 * failure as well: `trouble` says which there was.
 */
export function outcomeOf(
  { reason, detail }: QemuEnd,
  trouble: string | undefined,
  { onReboot, staysUp, isServed }: ExitPolicies,
): Outcome {
  switch (reason) {
    case 'power-off':
      return { action: staysUp ? 'stop' : 'exit' };
    case 'reset': {
      const isFailure = onReboot === 'exit' && trouble !== undefined;
      return { action: onReboot, ...(isFailure && { problem: `${trouble}, and the machine was reset` }) };
    }
    case 'quit':
    case 'crash':
      return outcomeOfCrash(`QEMU ended unexpectedly (${detail})`, isServed);
  }
}

/** An unexpected end: a VMM without an API socket has nothing more to do. */
export function outcomeOfCrash(problem: string, isServed: boolean): Outcome {
  return { action: isServed ? 'stop' : 'exit', problem, isCrash: true };
}
