import { CALL, OPEN } from './calls.ts';
import {
  add,
  atLeast,
  atMost,
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

/** Largest file that is read, in bytes: /etc/passwd, /etc/group. */
const FILE_BYTES = 4 * 2 ** 20;

const [ZERO, NINE, NEWLINE] = [0x30, 0x39, 0x0a];

/** Largest user or group id (`maxID` of `runc`). */
const LARGEST_ID = 2 ** 31 - 1;

/** Number of fields of a line that are split. */
const FIELDS = 8;

/** Buffer of the file that `readLines` read. */
export const FILE = space('file', FILE_BYTES + 1);

/** Addresses of the fields of a line after `splitLine`. */
export const field = (index: number): ReturnType<typeof wordAt> =>
  wordAt(add(space('fields', FIELDS * 8), index * 8));

/** Functions of texts: addresses of bytes that end with a NUL. */
export const TEXT_FUNCTIONS: readonly ProgramFunction[] = [
  define(
    'length',
    ['at'],
    [set('end', 'at'), loop(byteAt('end'), [set('end', add('end', 1))]), give(subtract('end', 'at'))],
  ),

  define(
    'same',
    ['one', 'other'],
    [
      loop(both(byteAt('one'), equal(byteAt('one'), byteAt('other'))), [
        set('one', add('one', 1)),
        set('other', add('other', 1)),
      ]),
      give(equal(byteAt('one'), byteAt('other'))),
    ],
  ),

  /** 1 if a text starts with another one */
  define(
    'startsWith',
    ['one', 'start'],
    [
      loop(both(byteAt('start'), equal(byteAt('one'), byteAt('start'))), [
        set('one', add('one', 1)),
        set('start', add('start', 1)),
      ]),
      give(not(byteAt('start'))),
    ],
  ),

  /** copies a text with its NUL; gives the address of the NUL */
  define(
    'copy',
    ['to', 'from'],
    [
      loop(byteAt('from'), [
        storeByte('to', byteAt('from')),
        set('to', add('to', 1)),
        set('from', add('from', 1)),
      ]),
      storeByte('to', 0),
      give('to'),
    ],
  ),

  /** a decimal number up to 2^31 - 1; -1 for any other text */
  define(
    'number',
    ['at'],
    [
      when(not(byteAt('at')), [give(-1)]),
      set('value', 0),
      loop(byteAt('at'), [
        when(either(less(byteAt('at'), ZERO), less(NINE, byteAt('at'))), [give(-1)]),
        set('value', add(multiply('value', 10), subtract(byteAt('at'), ZERO))),
        when(less(LARGEST_ID, 'value'), [give(-1)]),
        set('at', add('at', 1)),
      ]),
      give('value'),
    ],
  ),

  define('print', ['at'], [give(system(CALL.write, 2, 'at', call('length', 'at')))]),

  define(
    'printNumber',
    ['value'],
    [
      when(atLeast('value', 10), [
        set('tens', 0),
        loop(atMost(multiply(add('tens', 1), 10), 'value'), [set('tens', add('tens', 1))]),
        call('printNumber', 'tens'),
        set('value', subtract('value', multiply('tens', 10))),
      ]),
      storeByte(space('digit', 2), add('value', ZERO)),
      give(call('print', space('digit', 2))),
    ],
  ),

  /** ends a text before the first `separator`; gives the address behind it, or that of the text's NUL */
  define(
    'cut',
    ['at', 'separator'],
    [
      loop(both(byteAt('at'), unequal(byteAt('at'), 'separator')), [set('at', add('at', 1))]),
      when(not(byteAt('at')), [give('at')]),
      storeByte('at', 0),
      give(add('at', 1)),
    ],
  ),

  /** reads a file into the buffer, and ends it with a NUL; nothing for one that cannot be read */
  define(
    'readLines',
    ['path'],
    [
      storeByte(FILE, 0),
      set('fd', system(CALL.open, 'path', OPEN.read | OPEN.closeOnExec, 0)),
      when(less('fd', 0), [give(0)]),
      set('length', 0),
      set('count', 1),
      loop(both(less(0, 'count'), less('length', FILE_BYTES)), [
        set('count', system(CALL.read, 'fd', add(FILE, 'length'), subtract(FILE_BYTES, 'length'))),
        when(less(0, 'count'), [set('length', add('length', 'count'))]),
      ]),
      storeByte(add(FILE, 'length'), 0),
      system(CALL.close, 'fd'),
    ],
  ),

  /** splits the line at an address into its fields; gives the address of the next line. A missing field is empty */
  define(
    'splitLine',
    ['at'],
    [
      set('next', call('cut', 'at', NEWLINE)),
      set('index', 0),
      loop(less('index', FIELDS), [
        storeWord(add(space('fields', FIELDS * 8), multiply('index', 8)), 'at'),
        set('at', call('cut', 'at', 0x3a)),
        set('index', add('index', 1)),
      ]),
      give('next'),
    ],
  ),

  /** 1 if a list `a,b,c` has a name; it splits the list */
  define(
    'listHas',
    ['list', 'name'],
    [
      loop(byteAt('list'), [
        set('rest', call('cut', 'list', 0x2c)),
        when(call('same', 'list', 'name'), [give(1)]),
        set('list', 'rest'),
      ]),
    ],
  ),

  /** prints `nephos: <what> <name>: error <number>`, the usual errors as texts */
  define(
    'complain',
    ['what', 'name', 'error'],
    [
      call('print', text('nephos: ')),
      call('print', 'what'),
      call('print', 'name'),
      call('print', text(': ')),
      ...[
        [1, 'Operation not permitted'],
        [2, 'No such file or directory'],
        [7, 'Argument list too long'],
        [8, 'Exec format error'],
        [12, 'Cannot allocate memory'],
        [13, 'Permission denied'],
        [20, 'Not a directory'],
        [21, 'Is a directory'],
        [40, 'Too many levels of symbolic links'],
      ].map(([number = 0, message = '']) =>
        when(equal('error', Number(number)), [call('print', text(`${message}\n`)), give(0)]),
      ),
      call('print', text('error ')),
      call('printNumber', 'error'),
      call('print', text('\n')),
    ],
  ),
];
