// The program that starts QEMU instead of setpriv and a shell (src/qemu/process/launcher.ts), in machine code.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { executable } from '../src/guest/machine-code/elf.ts';
import {
  add,
  byteAt,
  call,
  define,
  give,
  loop,
  multiply,
  set,
  space,
  storeWord,
  subtract,
  system,
  unequal,
  when,
  wordAt,
  type Value,
} from '../src/guest/machine-code/program.ts';
import { LAUNCHER, PROGRAM_WORD, SHELL_WORD } from '../src/qemu/process/launcher.ts';

/** Numbers of system calls on x86-64. */
const CALL = { rt_sigaction: 13, execve: 59, getppid: 110, prctl: 157 } as const;
/** linux/prctl.h, asm-generic/signal.h */
const [PR_SET_PDEATHSIG, SIGKILL, SIGXFSZ, SIG_IGN] = [1, 9, 25, 1];
/** Size of a set of signals, and of the action of a signal: handler, flags, restorer, set. */
const [SET_BYTES, ACTION_BYTES] = [8, 32];

/** Address of an argument in the list of arguments, which is above their number on the initial stack. */
const placeOf = (index: number): Value => add('stack', 8 + 8 * index);

const MAIN = define(
  'main',
  ['stack'],
  [
    system(CALL.prctl, PR_SET_PDEATHSIG, SIGKILL),
    // the VMM may have ended before the signal was set
    when(unequal(system(CALL.getppid), call('number', wordAt(placeOf(1)))), [give(1)]),
    storeWord(space('action', ACTION_BYTES), SIG_IGN),
    system(CALL.rt_sigaction, SIGXFSZ, space('action', ACTION_BYTES), 0, SET_BYTES),
    // the variables of the environment are behind the arguments and a zero
    set('variables', add('stack', add(16, multiply(8, wordAt('stack'))))),
    system(CALL.execve, wordAt(placeOf(PROGRAM_WORD)), placeOf(PROGRAM_WORD), 'variables'),
    // it cannot be started: the shell says why
    system(CALL.execve, wordAt(placeOf(SHELL_WORD)), placeOf(SHELL_WORD), 'variables'),
    give(127),
  ],
);

/** Number of a text of decimal digits. */
const NUMBER = define(
  'number',
  ['at'],
  [
    set('value', 0),
    loop(byteAt('at'), [
      set('value', add(multiply('value', 10), subtract(byteAt('at'), 0x30))),
      set('at', add('at', 1)),
    ]),
    give('value'),
  ],
);

/** Writes the program into a folder. There is none for other processors than x86-64. */
export async function writeLauncher(folder: string): Promise<void> {
  const path = join(folder, LAUNCHER);
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, executable([MAIN, NUMBER]), { mode: 0o755 });
}
