import { executable } from '../machine-code/elf.ts';
import {
  add,
  both,
  byteAt,
  call,
  define,
  either,
  equal,
  give,
  less,
  loop,
  multiply,
  not,
  set,
  space,
  storeWord,
  subtract,
  system,
  text,
  unequal,
  when,
  wordAt,
  type ProgramFunction,
  type Statement,
} from '../machine-code/program.ts';
import { CALL, OPEN } from './calls.ts';
import { OWN_SHELL_FUNCTIONS } from './own-shell.ts';
import { PROCESS_FUNCTIONS, TOOLS_FD } from './processes.ts';
import { INITIAL_ENVIRONMENT, RUN_FUNCTIONS } from './run.ts';
import { STEP_FUNCTIONS } from './steps.ts';
import { TEXT_FUNCTIONS } from './text.ts';
import { USER_FUNCTIONS } from './users.ts';
import { CURSOR, WORDS, WORD_FUNCTIONS } from './words.ts';

/*
 * The helper: one static executable of the guest tools, /bin/enter. It takes steps, one after the other, until one fails or becomes a
 * command:
 *
 *   as process 1           the steps of /.nephos/boot, each word ended by a NUL
 *   enter STEP...          the steps of its arguments
 *   enter -c TEXT          as the log-in shell of `nephos`: `exec /bin/enter STEP...`, or any other command of busybox's shell
 *                          as the log-in shell of `root`: a command in the image's tree, after the steps of /etc/login
 *   -enter                 as either of these: a log-in shell
 *
 * Invariant: it never interprets a word by its content, except for the quotes of TEXT.
 */

/** Buffer of a file of words. */
const WORD_FILE_BYTES = 2 ** 20;
const WORD_FILE = space('word file', WORD_FILE_BYTES + 1);

/** Steps by their names; each is a function without parameters that gives 0, or the exit code of the helper. */
const STEPS = [
  'load',
  'mount',
  'directory',
  'link',
  'remove',
  'write',
  'rewrite',
  'hostname',
  'clock',
  'entropy',
  'interface',
  'gateway',
  'root',
  'image',
  'mark',
  'serve',
  'relay',
  'end',
  'run',
  'tool',
] as const;

/** Name of a step. */
export type StepName = (typeof STEPS)[number];

const dispatch: Statement[] = STEPS.map((name) =>
  when(call('same', 'step', text(name)), [set('result', call(name)), set('isKnown', 1)]),
);

const shellWords = (...list: readonly Parameters<typeof storeWord>[1][]): Statement[] =>
  list.map((word, index) => storeWord(add(space('shell command', 64), index * 8), word));

const MAIN_FUNCTIONS: readonly ProgramFunction[] = [
  /** takes the steps at the cursor */
  define(
    'takeSteps',
    [],
    [
      loop(wordAt(wordAt(CURSOR)), [
        set('step', call('next')),
        set('isOptional', call('same', 'step', text('try'))),
        when('isOptional', [set('step', call('next'))]),
        set('isKnown', 0),
        set('result', 0),
        ...dispatch,
        when(not('isKnown'), [call('complain', text('unknown step '), 'step', 22), give(125)]),
        when(both('result', not('isOptional')), [give('result')]),
      ]),
    ],
  ),

  /** reads the words of a file, each ended by a NUL; it cannot be larger than the buffer */
  define(
    'readWords',
    ['path'],
    [
      set('fd', system(CALL.open, 'path', OPEN.read | OPEN.closeOnExec, 0)),
      when(less('fd', 0), [give(call('complain', text('cannot open '), 'path', subtract(0, 'fd')))]),
      set('length', 0),
      set('count', 1),
      loop(less(0, 'count'), [
        set('count', system(CALL.read, 'fd', add(WORD_FILE, 'length'), subtract(WORD_FILE_BYTES, 'length'))),
        when(less(0, 'count'), [set('length', add('length', 'count'))]),
      ]),
      system(CALL.close, 'fd'),
      set('at', WORD_FILE),
      set('end', add(WORD_FILE, 'length')),
      loop(less('at', 'end'), [call('addWord', 'at'), set('at', add(add('at', call('length', 'at')), 1))]),
      give(WORDS),
    ],
  ),

  /** the log-in shell of `nephos`: `command` is 0 for a shell */
  define(
    'ownShell',
    ['command'],
    [
      when('command', [
        set('result', call('ownSteps', 'command')),
        when(unequal('result', -1), [give('result')]),
      ]),
      ...shellWords(text('-sh'), 0),
      when('command', shellWords(text('sh'), text('-c'), 'command', 0)),
      system(CALL.execve, text('/bin/busybox'), space('shell command', 64), wordAt(INITIAL_ENVIRONMENT)),
      give(127),
    ],
  ),

  /** the log-in shell of all other users: in the image's tree */
  define(
    'imageShell',
    ['command'],
    [
      call('readWords', text('/etc/login')),
      when('command', [
        call('addWord', text('/bin/sh')),
        call('addWord', text('-c')),
        call('addWord', 'command'),
      ]),
      give(call('takeWords', WORDS)),
    ],
  ),

  define(
    'boot',
    [],
    [
      storeWord(
        TOOLS_FD,
        system(CALL.open, text('/.nephos'), OPEN.pathOnly | OPEN.directory | OPEN.closeOnExec, 0),
      ),
      give(call('takeWords', call('readWords', text('/.nephos/boot')))),
    ],
  ),

  define(
    'shell',
    ['command'],
    [
      when(both('command', call('same', 'command', text('/usr/lib/sftp-server'))), [
        ...shellWords(text('tool'), text('/lib/sftp-server'), 0),
        give(call('takeWords', space('shell command', 64))),
      ]),
      set('user', call('findVariable', wordAt(INITIAL_ENVIRONMENT), text('USER='))),
      when(both('user', call('same', 'user', text('USER=nephos'))), [give(call('ownShell', 'command'))]),
      give(call('imageShell', 'command')),
    ],
  ),

  define(
    'main',
    ['stack'],
    [
      set('arguments', add('stack', 8)),
      storeWord(INITIAL_ENVIRONMENT, add('arguments', multiply(add(wordAt('stack'), 1), 8))),
      when(equal(system(CALL.getpid), 1), [give(call('boot'))]),
      set('first', wordAt(add('arguments', 8))),
      when(either(not('first'), equal(byteAt(wordAt('arguments')), 0x2d)), [give(call('shell', 0))]),
      when(call('same', 'first', text('-c')), [give(call('shell', wordAt(add('arguments', 16))))]),
      give(call('takeWords', add('arguments', 8))),
    ],
  ),
];

/** Compiles the helper. */
export function compileHelper(): Buffer {
  return executable([
    ...MAIN_FUNCTIONS,
    ...WORD_FUNCTIONS,
    ...OWN_SHELL_FUNCTIONS,
    ...TEXT_FUNCTIONS,
    ...USER_FUNCTIONS,
    ...STEP_FUNCTIONS,
    ...PROCESS_FUNCTIONS,
    ...RUN_FUNCTIONS,
  ]);
}
