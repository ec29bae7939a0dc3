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
  storeInt,
  storeWord,
  text,
  when,
  wordAt,
  type ProgramFunction,
} from '../machine-code/program.ts';
import { FILE, field } from './text.ts';

/*
 * The user of a command, as `runc` resolves it (its package `libcontainer/user`, `GetExecUser`): `name`, `uid`, `name:group` or `uid:gid` by the image's
 * /etc/passwd and /etc/group. The first matching line counts. A number without a line is itself; a name without one is an error.
 * Supplementary groups are those of the user's name, if no group is given.
 */

/** Largest number of groups of a process (NGROUPS_MAX of Linux). */
const GROUPS = 65_536;

/** Variables of the program, 8 bytes each. */
export const USER = {
  id: space('user id', 8),
  group: space('user group', 8),
  groups: space('user groups', GROUPS * 4),
  groupCount: space('user group count', 8),
  name: space('user name', 256),
  home: space('user home', 4096),
  shell: space('user shell', 4096),
} as const;

/** Largest name that is kept for the search of its groups, in bytes. */
const NAME_BYTES = 255;
const PATH_BYTES = 4095;

const addGroup = (group: Parameters<typeof storeInt>[1]) => [
  when(less(wordAt(USER.groupCount), GROUPS), [
    storeInt(add(USER.groups, multiply(wordAt(USER.groupCount), 4)), group),
    storeWord(USER.groupCount, add(wordAt(USER.groupCount), 1)),
  ]),
];

export const USER_FUNCTIONS: readonly ProgramFunction[] = [
  define(
    'copyShort',
    ['to', 'from', 'limit'],
    [when(less(call('length', 'from'), 'limit'), [call('copy', 'to', 'from')])],
  ),

  /** finds the line of a user in /etc/passwd: sets its id, group, name, home and shell; gives 1 if there is one */
  define(
    'findUser',
    ['spec'],
    [
      set('number', call('number', 'spec')),
      call('readLines', text('/etc/passwd')),
      set('line', FILE),
      loop(byteAt('line'), [
        set('line', call('splitLine', 'line')),
        set('id', call('number', field(2))),
        when(
          both(
            byteAt(field(0)),
            either(
              call('same', field(0), 'spec'),
              both(less(-1, 'id'), either(equal('id', 'number'), both(not(byteAt('spec')), equal('id', 0)))),
            ),
          ),
          [
            when(less(-1, 'id'), [storeWord(USER.id, 'id')]),
            set('group', call('number', field(3))),
            when(less(-1, 'group'), [storeWord(USER.group, 'group')]),
            call('copyShort', USER.name, field(0), NAME_BYTES),
            call('copyShort', USER.home, field(5), PATH_BYTES),
            call('copyShort', USER.shell, field(6), PATH_BYTES),
            give(1),
          ],
        ),
      ]),
    ],
  ),

  /** finds a group in /etc/group; gives its number or -1 */
  define(
    'findGroup',
    ['spec'],
    [
      set('number', call('number', 'spec')),
      call('readLines', text('/etc/group')),
      set('line', FILE),
      loop(byteAt('line'), [
        set('line', call('splitLine', 'line')),
        set('id', call('number', field(2))),
        when(both(less(-1, 'id'), either(call('same', field(0), 'spec'), equal('id', 'number'))), [
          give('id'),
        ]),
      ]),
      give('number'),
    ],
  ),

  /** adds the groups that list the user's name */
  define(
    'findGroups',
    [],
    [
      call('readLines', text('/etc/group')),
      set('line', FILE),
      loop(byteAt('line'), [
        set('line', call('splitLine', 'line')),
        set('id', call('number', field(2))),
        when(both(less(-1, 'id'), call('listHas', field(3), USER.name)), addGroup('id')),
      ]),
    ],
  ),

  /** resolves a user; gives 0, or 1 after a message */
  define(
    'resolveUser',
    ['spec'],
    [
      storeWord(USER.id, 0),
      storeWord(USER.group, 0),
      storeWord(USER.groupCount, 0),
      call('copy', USER.name, text('')),
      call('copy', USER.home, text('/')),
      call('copy', USER.shell, text('')),
      set('groupSpec', call('cut', 'spec', 0x3a)),
      when(both(not(call('findUser', 'spec')), byteAt('spec')), [
        set('number', call('number', 'spec')),
        when(less('number', 0), [
          call('print', text('nephos: unable to find user ')),
          call('print', 'spec'),
          call('print', text(': no matching entries in /etc/passwd of the image\n')),
          give(1),
        ]),
        storeWord(USER.id, 'number'),
      ]),
      when(not(byteAt('groupSpec')), [
        ...addGroup(wordAt(USER.group)),
        when(byteAt(USER.name), [call('findGroups')]),
        give(0),
      ]),
      set('group', call('findGroup', 'groupSpec')),
      when(less('group', 0), [
        call('print', text('nephos: unable to find group ')),
        call('print', 'groupSpec'),
        call('print', text(': no matching entries in /etc/group of the image\n')),
        give(1),
      ]),
      storeWord(USER.group, 'group'),
      ...addGroup('group'),
    ],
  ),
];
