import { CURSOR } from './words.ts';
import { FILE } from './text.ts';
import { CALL, ERROR, OPEN } from './calls.ts';
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
  storeByte,
  storeWord,
  subtract,
  system,
  text,
  unequal,
  when,
  wordAt,
  type ProgramFunction,
} from '../machine-code/program.ts';
import { USER } from './users.ts';

/*
 * The step `run`: FLAGS DIRECTORY USER COUNT VARIABLES... COMMAND... It becomes the command: the exit is the command's. Flags: `t` keeps
 * TERM of the server's terminal, `w` makes the working directory. Without COMMAND it is the log-in shell of the user.
 */

/** Most variables of a command. */
const VARIABLES = 16_384;
const PATH_BYTES = 65_536;
/** Longest path of a file (PATH_MAX), twice. */
const CANDIDATE_BYTES = PATH_BYTES + 8192;

const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Exit codes of shells (POSIX, 2.8.2). */
const [CANNOT_EXECUTE, NOT_FOUND] = [126, 127];

/** Seconds and so on of the initial environment: address of its pointers */
export const INITIAL_ENVIRONMENT = space('initial environment', 8);

const environment = space('environment', (VARIABLES + 8) * 8);
const count = space('environment count', 8);
const homeText = space('home text', 4200);
const pathText = space('path text', PATH_BYTES);
const candidate = space('candidate', CANDIDATE_BYTES);
const shellText = space('shell text', 4200);

export const RUN_FUNCTIONS: readonly ProgramFunction[] = [
  define(
    'addVariable',
    ['variable'],
    [
      when(less(wordAt(count), VARIABLES + 4), [
        storeWord(add(environment, multiply(wordAt(count), 8)), 'variable'),
        storeWord(count, add(wordAt(count), 1)),
      ]),
    ],
  ),

  /** finds a variable in a list of pointers by its start `NAME=`; gives its text, or 0 */
  define(
    'findVariable',
    ['list', 'start'],
    [
      loop(wordAt('list'), [
        when(call('startsWith', wordAt('list'), 'start'), [give(wordAt('list'))]),
        set('list', add('list', 8)),
      ]),
    ],
  ),

  define(
    'hasFlag',
    ['flags', 'flag'],
    [loop(byteAt('flags'), [when(equal(byteAt('flags'), 'flag'), [give(1)]), set('flags', add('flags', 1))])],
  ),

  /** adds the variables that every command has: PATH, HOME, and TERM of a terminal */
  define(
    'completeEnvironment',
    ['flags'],
    [
      when(not(call('findVariable', environment, text('PATH='))), [call('addVariable', text(DEFAULT_PATH))]),
      when(not(call('findVariable', environment, text('HOME='))), [
        call('copy', call('copy', homeText, text('HOME=')), USER.home),
        call('addVariable', homeText),
      ]),
      when(both(call('hasFlag', 'flags', 0x74), not(call('findVariable', environment, text('TERM=')))), [
        set('term', call('findVariable', wordAt(INITIAL_ENVIRONMENT), text('TERM='))),
        when('term', [call('addVariable', 'term')]),
      ]),
    ],
  ),

  /** exit code after a failed execution, with a message */
  define(
    'executionFailed',
    ['file', 'error'],
    [
      call('complain', text('cannot execute '), 'file', 'error'),
      when(equal('error', ERROR.notFound), [give(NOT_FOUND)]),
      give(CANNOT_EXECUTE),
    ],
  ),

  define('hasSlash', ['at'], [give(call('hasFlag', 'at', 0x2f))]),

  /** executes a command, which it searches in PATH; returns only if that fails, with the exit code */
  define(
    'executeCommand',
    ['file', 'words'],
    [
      when(not(byteAt('file')), [give(call('executionFailed', text("''"), ERROR.notFound))]),
      when(call('hasSlash', 'file'), [
        give(call('executionFailed', 'file', subtract(0, system(CALL.execve, 'file', 'words', environment)))),
      ]),
      set('path', add(call('findVariable', environment, text('PATH=')), 5)),
      when(less(PATH_BYTES - 1, call('length', 'path')), [give(call('executionFailed', 'file', 7))]),
      when(less(4096, call('length', 'file')), [give(call('executionFailed', 'file', ERROR.notFound))]),
      call('copy', pathText, 'path'),
      set('path', pathText),
      set('reason', ERROR.notFound),
      set('isLast', not(byteAt('path'))),
      loop(not('isLast'), [
        set('rest', call('cut', 'path', 0x3a)),
        set('isLast', not(byteAt('rest'))),
        set('end', call('copy', candidate, 'path')),
        when(unequal('end', candidate), [storeByte('end', 0x2f), set('end', add('end', 1))]),
        call('copy', 'end', 'file'),
        set('error', subtract(0, system(CALL.execve, candidate, 'words', environment))),
        when(equal('error', ERROR.access), [set('reason', 'error')]),
        when(call('isFinal', 'error'), [give(call('executionFailed', candidate, 'error'))]),
        set('path', 'rest'),
      ]),
      when(equal('reason', ERROR.notFound), [
        call('print', text('nephos: ')),
        call('print', 'file'),
        call('print', text(': command not found in PATH\n')),
        give(NOT_FOUND),
      ]),
      give(call('executionFailed', 'file', 'reason')),
    ],
  ),

  /** 1 for an error that ends the search in PATH */
  define(
    'isFinal',
    ['error'],
    [
      give(
        both(
          both(unequal('error', ERROR.notFound), unequal('error', ERROR.access)),
          both(
            unequal('error', ERROR.notDirectory),
            both(unequal('error', ERROR.loop), unequal('error', 36)),
          ),
        ),
      ),
    ],
  ),

  /** executes the log-in shell of the user: its first word starts with `-` */
  define(
    'executeShell',
    [],
    [
      set('shell', USER.shell),
      when(not(byteAt('shell')), [set('shell', text('/bin/sh'))]),
      set('name', 'shell'),
      set('at', 'shell'),
      loop(byteAt('at'), [
        when(equal(byteAt('at'), 0x2f), [set('name', add('at', 1))]),
        set('at', add('at', 1)),
      ]),
      call('copy', call('copy', shellText, text('-')), 'name'),
      storeWord(space('shell words', 16), shellText),
      give(call('executeCommand', 'shell', space('shell words', 16))),
    ],
  ),

  /** makes this user's the standard streams: /dev/stdout opens them by their path */
  define(
    'ownStreams',
    [],
    [
      system(CALL.fchown, 0, wordAt(USER.id), -1),
      system(CALL.fchown, 1, wordAt(USER.id), -1),
      system(CALL.fchown, 2, wordAt(USER.id), -1),
    ],
  ),

  define(
    'becomeUser',
    [],
    [
      when(wordAt(USER.id), [call('ownStreams')]),
      set('result', system(CALL.setgroups, wordAt(USER.groupCount), USER.groups)),
      when(not('result'), [
        set('result', system(CALL.setresgid, wordAt(USER.group), wordAt(USER.group), wordAt(USER.group))),
      ]),
      when(not('result'), [
        set('result', system(CALL.setresuid, wordAt(USER.id), wordAt(USER.id), wordAt(USER.id))),
      ]),
      when('result', [call('complain', text('cannot become the user '), USER.name, subtract(0, 'result'))]),
      give('result'),
    ],
  ),

  define(
    'enterDirectory',
    ['flags', 'path'],
    [
      when(not(byteAt('path')), [set('path', text('/'))]),
      set('result', system(CALL.chdir, 'path')),
      when(both(equal('result', -ERROR.notFound), call('hasFlag', 'flags', 0x77)), [
        storeWord(space('one word', 16), 'path'),
        storeWord(CURSOR, space('one word', 16)),
        call('directory'),
        set('result', system(CALL.chdir, 'path')),
      ]),
      when('result', [
        call('complain', text('cannot enter the working directory '), 'path', subtract(0, 'result')),
      ]),
      give('result'),
    ],
  ),

  /** writes the status of this process, which begins with its id, to /command of the tools: it becomes the first command of the VM */
  define(
    'mark',
    [],
    [
      call('readLines', text('/proc/self/stat')),
      set('fd', system(CALL.open, text('/command'), OPEN.write | OPEN.create | OPEN.truncate, 0o600)),
      system(CALL.write, 'fd', FILE, call('length', FILE)),
      system(CALL.close, 'fd'),
      give(0),
    ],
  ),

  define(
    'run',
    [],
    [
      set('flags', call('next')),
      set('directory', call('next')),
      set('user', call('next')),
      set('left', call('number', call('next'))),
      when(either(less('left', 0), less(VARIABLES, 'left')), [
        call('print', text('nephos: the command has too many variables\n')),
        give(CANNOT_EXECUTE),
      ]),
      loop(less(0, 'left'), [call('addVariable', call('next')), set('left', subtract('left', 1))]),
      set('words', wordAt(CURSOR)),
      system(CALL.setsid),
      when(call('resolveUser', 'user'), [give(CANNOT_EXECUTE)]),
      call('completeEnvironment', 'flags'),
      when(call('enterDirectory', 'flags', 'directory'), [give(CANNOT_EXECUTE)]),
      when(call('becomeUser'), [give(CANNOT_EXECUTE)]),
      when(wordAt('words'), [give(call('executeCommand', wordAt('words'), 'words'))]),
      give(call('executeShell')),
    ],
  ),

  /** tool PATH WORDS...: a dynamic program of the tools in the image's tree, by a descriptor of the tools' root */
  define(
    'tool',
    [],
    [
      set('words', wordAt(CURSOR)),
      set('fd', system(CALL.open, text('/'), OPEN.pathOnly | OPEN.directory, 0)),
      system(CALL.dup2, 'fd', 9),
      when(call('image'), [give(1)]),
      ...['ld.so', '--library-path', '/proc/self/fd/9/lib/x86_64-linux-gnu', '--preload'].map((word, index) =>
        storeWord(add(space('tool words', 64 * 8), index * 8), text(word)),
      ),
      set('preloaded', text('')),
      set('fd', system(CALL.open, text('/etc/passwd'), OPEN.pathOnly | OPEN.closeOnExec, 0)),
      // the SFTP server exits if its user has no entry
      when(less('fd', 0), [set('preloaded', text('/proc/self/fd/9/lib/users.so'))]),
      storeWord(add(space('tool words', 64 * 8), 32), 'preloaded'),
      storeWord(add(space('tool words', 64 * 8), 40), call('inTools', wordAt('words'))),
      set('to', add(space('tool words', 64 * 8), 48)),
      set('words', add('words', 8)),
      loop(both(wordAt('words'), less('to', add(space('tool words', 64 * 8), 62 * 8))), [
        storeWord('to', wordAt('words')),
        set('to', add('to', 8)),
        set('words', add('words', 8)),
      ]),
      set(
        'result',
        system(
          CALL.execve,
          text('/proc/self/fd/9/lib/ld.so'),
          space('tool words', 64 * 8),
          wordAt(INITIAL_ENVIRONMENT),
        ),
      ),
      give(call('executionFailed', text('/lib/ld.so'), subtract(0, 'result'))),
    ],
  ),

  define(
    'inTools',
    ['path'],
    [
      when(less(4000, call('length', 'path')), [give(text(''))]),
      call('copy', call('copy', candidate, text('/proc/self/fd/9')), 'path'),
      give(candidate),
    ],
  ),
];
