import { constants } from 'node:os';
import { didYouMean, nearest } from '../util/nearest.ts';

/*
 * Signals of the guest's Linux (signal(7)). The numbers are those of x86-64 and arm64. Real-time signals count from 34, as glibc and docker
 * count them.
 */

/** A signal of Linux. */
export interface LinuxSignal {
  /** e.g. `TERM`, `RTMIN+1` */
  readonly name: string;
  readonly number: number;
}

/** Real-time signals that programs may use: SIGRTMIN and SIGRTMAX. */
const [RTMIN, RTMAX] = [34, 64];

/** Signals whose numbers have no names: those of the C library. */
const [FIRST, LAST] = [1, RTMAX];

/** Number of SIGKILL. */
export const KILL = 9;

/** Signals that SSH has names for (RFC 4254, 6.10). */
export const SSH_SIGNALS: readonly string[] =
  'ABRT ALRM FPE HUP ILL INT KILL PIPE QUIT SEGV TERM USR1 USR2'.split(' ');

/** Reads a signal: `HUP`, `SIGHUP`, `hup`, `1`, `RTMIN+2`. @returns a hint for any other text */
export function readLinuxSignal(text: string): LinuxSignal | { readonly hint: string } {
  const word = text.trim().toUpperCase().replace(/^SIG/, '');
  const number = /^\d{1,3}$/.test(word) ? Number(word) : (NUMBERS.get(word) ?? 0);
  if (number >= FIRST && number <= LAST) return { number, name: nameOf(number) };
  const meant = /\d/.test(word) ? undefined : nearest(word, NUMBERS.keys());
  return { hint: didYouMean(meant) ?? `expected a name such as TERM, or a number from ${FIRST} to ${LAST}` };
}

/** Returns the first name of a signal, its number if it has none. */
function nameOf(number: number): string {
  return [...NUMBERS].find(([, known]) => known === number)?.[0] ?? String(number);
}

const NUMBERS = listSignals();

function listSignals(): ReadonlyMap<string, number> {
  const names = Object.entries(constants.signals).map(([name, number]): [string, number] => [
    name.replace(/^SIG/, ''),
    number,
  ]);
  const realTime = Array.from({ length: RTMAX - RTMIN + 1 }, (_, i): [string, number][] => [
    [i === 0 ? 'RTMIN' : `RTMIN+${i}`, RTMIN + i],
    [i === 0 ? 'RTMAX' : `RTMAX-${i}`, RTMAX - i],
  ]);
  return new Map([...names, ...realTime.flat()]);
}
