import { CONSOLE_PARAMETERS } from './console-messages.ts';
import { BOOTED } from './route-kinds.ts';
import type { Phase, RouteParameter } from './route.ts';

/** Definition of an endpoint that makes a connection a WebSocket. A request without an upgrade is answered 400. */
export interface UpgradeDefinition {
  readonly summary: string;
  readonly parameters: readonly RouteParameter[];
  /** status codes with their texts */
  readonly answers: Readonly<Record<number, string>>;
  /** phases in which the endpoint may be called */
  readonly phases: readonly Phase[];
}

/** Every endpoint that makes a connection a WebSocket. None is in the contract's document. */
export const UPGRADE_ROUTES = {
  'vm.console': {
    summary: 'View a console of the VM and write to it, by a WebSocket.',
    parameters: CONSOLE_PARAMETERS,
    answers: {
      101: 'The connection is a WebSocket. Binary messages are bytes of the console, text messages are JSON.',
      404: 'There is no VM, or the mode of the console is Off.',
      405: 'The VM is not booted; or the method is wrong, and Allow has the right one.',
      429: 'The VM is being rebooted: try again.',
      500: 'QEMU or the file of the console refuses the switch to viewers; the console is unchanged.',
    },
    phases: BOOTED,
  },
} as const satisfies Readonly<Record<string, UpgradeDefinition>>;
