import type { OnVmEvent } from './events.ts';
import type { ExitPolicies } from './guest-exit/outcome.ts';

/** Result of a VMM: `problem` is undefined after a request to end, or a power-off by the guest. */
export interface VmmExit {
  readonly problem: string | undefined;
}

/** Options of a VMM. */
export interface VmmOptions extends ExitPolicies {
  /** version in the answer of vmm.ping */
  readonly version: string;
  readonly buildVersion: string;
  /** called with each event, in order */
  readonly onEvent: OnVmEvent;
  /** see `MachineWatch`; called when a machine starts */
  readonly watchesDrivers: () => boolean;
}
