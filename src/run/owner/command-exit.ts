import { constants } from 'node:os';
import type { GuestExit } from '../../guest/guest.ts';

/** Exit of a run: its exit code, and the reason of a code that is not the command's. */
export interface RunExit {
  readonly code: number;
  readonly reason?: string;
}

/** Returns the exit code of a command as a shell shows it: 128 and the number of the signal that ended it. */
export function exitCodeOf({ exitCode, signal }: GuestExit): number {
  if (exitCode !== null) return exitCode;
  return signal === null ? 255 : 128 + signalNumber(signal);
}

/** Returns the number of a signal by its name without `SIG`; that of KILL for one that this host does not have. */
function signalNumber(name: string): number {
  return Object.entries(constants.signals).find(([known]) => known === `SIG${name}`)?.[1] ?? 9;
}
