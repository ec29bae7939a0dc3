import { besideBundle, isBundled } from '../../util/beside-bundle.ts';
import { programProblem } from './program.ts';

/*
 * A program of 600 bytes that starts QEMU as setpriv and a shell do, which take 2 ms: the kernel kills QEMU when the VMM ends, and QEMU
 * ignores SIGXFSZ. The build writes it (scripts/launcher.ts), for x86-64 only. Its arguments are the PID of the VMM, then the words of a
 * shell that starts QEMU: the program starts QEMU itself, and the shell only if QEMU cannot be started, for the shell's message.
 */

/** Path of the program in `dist/`. */
export const LAUNCHER = 'launcher/x64/start-qemu';

/** Number of words of the shell before QEMU's: `/bin/sh -c SCRIPT PID`. */
const SHELL_WORDS = 4;

/** Index of the first word of the shell, and of the first word of QEMU, among the arguments of the program; it is number 0 itself. */
export const SHELL_WORD = 2;
export const PROGRAM_WORD = SHELL_WORD + SHELL_WORDS;

/** Returns the path of the program; undefined if there is none, or the host does not start it. */
export function findLauncher(): string | undefined {
  if (!isBundled() || process.platform !== 'linux' || process.arch !== 'x64') return undefined;
  const path = besideBundle(LAUNCHER);
  return typeof path === 'string' && programProblem(path) === undefined ? path : undefined;
}
