import {
  add,
  atMost,
  both,
  byteAt,
  call,
  define,
  equal,
  give,
  less,
  loop,
  multiply,
  not,
  set,
  space,
  storeByte,
  subtract,
  system,
  text,
  when,
  type ProgramFunction,
} from '../machine-code/program.ts';
import { CALL } from './calls.ts';
import { WORDS } from './words.ts';

/*
 * Command texts of the owner process, which the helper takes without a shell: `exec /bin/enter STEP...`, also behind `echo MARK $$; ` (the
 * start mark of src/guest/). An ordinary shell gives the same result; it takes longer, most of all under emulation after a restore.
 */

const OWN_COMMAND = 'exec /bin/enter ';
const [MARK_START, MARK_END] = ['echo ', ' $$; '];

const [NEWLINE, SPACE, QUOTE, BACKSLASH] = [0x0a, 0x20, 0x27, 0x5c];

/** Longest mark, in bytes; the line has a process id, too. */
const MARK_BYTES = 200;
const line = space('mark line', MARK_BYTES + 32);

const SPLIT_TEXT = define(
  'splitText',
  ['at'],
  [
    loop(byteAt('at'), [
      loop(equal(byteAt('at'), SPACE), [set('at', add('at', 1))]),
      when(byteAt('at'), [
        call('addWord', 'at'),
        set('to', 'at'),
        set('quoted', 0),
        set('isOpen', 1),
        loop(both('isOpen', byteAt('at')), [
          set('character', byteAt('at')),
          set('at', add('at', 1)),
          when(
            equal('character', QUOTE),
            [set('quoted', not('quoted'))],
            [
              when(
                both(equal('character', SPACE), not('quoted')),
                [set('isOpen', 0)],
                [
                  when(both(both(equal('character', BACKSLASH), not('quoted')), byteAt('at')), [
                    set('character', byteAt('at')),
                    set('at', add('at', 1)),
                  ]),
                  storeByte('to', 'character'),
                  set('to', add('to', 1)),
                ],
              ),
            ],
          ),
        ]),
        storeByte('to', 0),
      ]),
    ]),
  ],
);

export const OWN_SHELL_FUNCTIONS: readonly ProgramFunction[] = [
  /** splits a text in place as sh does, if it has only words, quotes and backslashes; adds its words */
  SPLIT_TEXT,

  /** address behind the first `part` in a text; 0 if there is none */
  define(
    'behind',
    ['at', 'part'],
    [
      loop(byteAt('at'), [
        when(call('startsWith', 'at', 'part'), [give(add('at', call('length', 'part')))]),
        set('at', add('at', 1)),
      ]),
    ],
  ),

  /** letters, digits and `-` */
  define(
    'isMarkCharacter',
    ['character'],
    [
      when(equal('character', 0x2d), [give(1)]),
      when(both(less(0x2f, 'character'), less('character', 0x3a)), [give(1)]),
      give(both(less(0x60, 'character'), less('character', 0x7b))),
    ],
  ),

  /** takes a start mark: prints it with the process id; gives the rest of the command, or 0 */
  define(
    'takeMark',
    ['command'],
    [
      when(not(call('startsWith', 'command', text(MARK_START))), [give(0)]),
      set('mark', add('command', MARK_START.length)),
      set('at', 'mark'),
      loop(call('isMarkCharacter', byteAt('at')), [set('at', add('at', 1))]),
      when(not(call('startsWith', 'at', text(MARK_END + OWN_COMMAND))), [give(0)]),
      when(less(MARK_BYTES, subtract('at', 'mark')), [give(0)]),
      storeByte('at', 0),
      set('end', call('copy', line, 'mark')),
      storeByte('end', SPACE),
      set('end', call('copyNumber', add('end', 1), system(CALL.getpid))),
      storeByte('end', NEWLINE),
      system(CALL.write, 1, line, subtract(add('end', 1), line)),
      give(add('at', MARK_END.length)),
    ],
  ),

  /** writes a number in decimal digits; gives the address behind it */
  define(
    'copyNumber',
    ['to', 'value'],
    [
      set('scale', 10),
      loop(atMost('scale', 'value'), [set('scale', multiply('scale', 10))]),
      loop(less(1, 'scale'), [
        set('scale', call('tenth', 'scale')),
        set('digit', call('quotient', 'value', 'scale')),
        storeByte('to', add('digit', 0x30)),
        set('to', add('to', 1)),
        set('value', subtract('value', multiply('digit', 'scale'))),
      ]),
      give('to'),
    ],
  ),

  define('tenth', ['value'], [give(call('quotient', 'value', 10))]),

  /** `value / by`, for small results or small values */
  define(
    'quotient',
    ['value', 'by'],
    [
      set('result', 0),
      loop(atMost(multiply(add('result', 1), 'by'), 'value'), [set('result', add('result', 1))]),
      give('result'),
    ],
  ),

  /** takes a command of the owner process as steps; gives -1 for any other command */
  define(
    'ownSteps',
    ['command'],
    [
      set('rest', call('takeMark', 'command')),
      when(not('rest'), [set('rest', 'command')]),
      when(not(call('startsWith', 'rest', text(OWN_COMMAND))), [give(-1)]),
      call('splitText', add('rest', OWN_COMMAND.length)),
      give(call('takeWords', WORDS)),
    ],
  ),
];
