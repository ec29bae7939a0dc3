import type { OnVmEvent } from './events.ts';
import type { EndPolicies } from './guest-exit/outcome.ts';

/** How the VMM's work ended; `problem` is undefined for a regular end. */
export interface VmmEnd {
  readonly problem: string | undefined;
}

/** What the VMM is made with. */
export interface VmmOptions extends EndPolicies {
  /** what vmm.ping answers */
  readonly version: string;
  readonly buildVersion: string;
  /** called with each event, in order */
  readonly onEvent: OnVmEvent;
  /** see `MachineWatch` */
  readonly watchesDrivers: boolean;
}
