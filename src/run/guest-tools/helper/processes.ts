import { CALL, OPEN } from './calls.ts';
import {
  add,
  both,
  call,
  define,
  either,
  equal,
  give,
  intAt,
  less,
  loop,
  not,
  set,
  space,
  storeInt,
  storeWord,
  subtract,
  system,
  text,
  when,
  wordAt,
  type ProgramFunction,
  type Statement,
  type Value,
} from '../machine-code/program.ts';

/*
 * Process 1, and the SSH servers. Process 1 starts dropbear on hvc0, starts it again if it ends, and waits for every orphan. dropbear
 * runs in the tools' tree; process 1 has the image's tree as its root.
 */

/** asm-generic/ioctls.h */
const [TCSETS, TCFLSH, BOTH_QUEUES] = [0x5402, 0x540b, 2];

/** reboot(2): LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF */
const POWER_OFF = [0xfee1_dead, 0x2812_1969, 0x4321_fedc] as const;

const RLIMIT_NOFILE = 7;
/** Most open files of a process, as systemd sets them */
const OPEN_FILES = { soft: 1024, hard: 524_288 };

/** Size of `struct termios` of the kernel: its flags are zeros in raw mode, beside the character size and the speed. */
const TERMIOS_BYTES = 36;
/** `CS8 | CREAD | CLOCAL | B38400` */
const RAW_CONTROL = 0o60 | 0o200 | 0o4000 | 0o17;
/** `c_cc[VMIN]`: 17 bytes are before the control characters */
const VMIN_AT = 17 + 6;

/** Delay before a server is started again, in nanoseconds. */
const RETRY_NS = 20_000_000;

const BUFFER_BYTES = 65_536;

const termios = space('termios', TERMIOS_BYTES);
const pair = space('socket pair', 8);
const buffer = space('buffer', BUFFER_BYTES);

/** Descriptor of the tools' tree, of hvc0 */
export const TOOLS_FD = space('tools fd', 8);
const console = space('console fd', 8);

/** Executes a program of the tools. */
const execute = (words: readonly Value[], environment: readonly Value[]): Statement[] => {
  const list = (name: string, values: readonly Value[]): Statement[] =>
    [...values, 0].map((value, index) => storeWord(add(space(name, 16 * 8), index * 8), value));
  return [
    ...list('server words', words),
    ...list('server environment', environment),
    system(
      CALL.execve,
      wordAt(space('server words', 16 * 8)),
      space('server words', 16 * 8),
      space('server environment', 16 * 8),
    ),
    system(CALL.exit, 127),
  ];
};

/** dropbear takes its peer's address from a socket; the preloaded library answers for a terminal. */
const SERVER_ENVIRONMENT = [text('PATH=/bin:/sbin'), text('LD_PRELOAD=/lib/peer.so')];
/** -B: the method `none` for users without a password; -m: no message of the day; -W: receive window */
const SERVER = ['/sbin/dropbear', '-i', '-B', '-m', '-W', '262144'].map((word) => text(word));

export const PROCESS_FUNCTIONS: readonly ProgramFunction[] = [
  /** opens hvc0 in raw mode; it stays open, because the driver resets the mode at the last close */
  define(
    'openConsole',
    [],
    [
      set('fd', system(CALL.open, text('/dev/hvc0'), OPEN.readWrite | OPEN.noTerminal, 0)),
      when(less('fd', 0), [
        call('complain', text('cannot open '), text('/dev/hvc0'), subtract(0, 'fd')),
        give(-1),
      ]),
      storeInt(add(termios, 8), RAW_CONTROL),
      storeInt(add(termios, VMIN_AT - (VMIN_AT % 4)), 1 << (8 * (VMIN_AT % 4))),
      system(CALL.ioctl, 'fd', TCSETS, termios),
      give('fd'),
    ],
  ),

  /** starts dropbear on hvc0; gives its process id */
  define(
    'startServer',
    [],
    [
      system(CALL.ioctl, wordAt(console), TCFLSH, BOTH_QUEUES),
      set('id', system(CALL.fork)),
      when('id', [give('id')]),
      system(CALL.fchdir, wordAt(TOOLS_FD)),
      system(CALL.chroot, text('.')),
      system(CALL.chdir, text('/')),
      system(CALL.setsid),
      system(CALL.dup2, wordAt(console), 0),
      system(CALL.dup2, wordAt(console), 1),
      set('null', system(CALL.open, text('/dev/null'), OPEN.readWrite, 0)),
      system(CALL.dup2, 'null', 2),
      system(CALL.close, 'null'),
      system(CALL.close, wordAt(console)),
      ...execute([...SERVER, text('-r'), text('/etc/dropbear/console_key')], SERVER_ENVIRONMENT),
    ],
  ),

  /** the loop of process 1 */
  define(
    'serve',
    [],
    [
      storeWord(space('limit', 16), OPEN_FILES.soft),
      storeWord(add(space('limit', 16), 8), OPEN_FILES.hard),
      system(CALL.prlimit, 0, RLIMIT_NOFILE, space('limit', 16), 0),
      storeWord(add(space('pause', 16), 8), RETRY_NS),
      storeWord(console, call('openConsole')),
      when(less(wordAt(console), 0), [give(1)]),
      set('server', call('startServer')),
      loop(1, [
        set('ended', system(CALL.wait4, -1, 0, 0, 0)),
        when(either(equal('ended', 'server'), less('ended', 0)), [
          system(CALL.nanosleep, space('pause', 16), 0),
          set('server', call('startServer')),
        ]),
      ]),
    ],
  ),

  /** copies bytes from one descriptor to another until its end */
  define(
    'pump',
    ['from', 'to'],
    [
      set('count', 1),
      loop(less(0, 'count'), [
        set('count', system(CALL.read, 'from', buffer, BUFFER_BYTES)),
        set('at', 0),
        loop(both(less(0, 'count'), less('at', 'count')), [
          set('written', system(CALL.write, 'to', add(buffer, 'at'), subtract('count', 'at'))),
          when(less('written', 0), [give(1)]),
          set('at', add('at', 'written')),
        ]),
      ]),
    ],
  ),

  /** one more SSH server, with a host key of this VM: stdin and stdout carry its connection */
  define(
    'relay',
    [],
    [
      system(CALL.socketpair, 1, 1, 0, pair),
      set('own', intAt(pair)),
      set('other', intAt(add(pair, 4))),
      set('server', system(CALL.fork)),
      when(not('server'), [
        system(CALL.dup2, 'other', 0),
        system(CALL.dup2, 'other', 1),
        system(CALL.close, 'own'),
        system(CALL.close, 'other'),
        ...execute([...SERVER, text('-R')], SERVER_ENVIRONMENT),
      ]),
      system(CALL.close, 'other'),
      set('sender', system(CALL.fork)),
      when(not('sender'), [call('pump', 0, 'own'), system(CALL.shutdown, 'own', 1), system(CALL.exit, 0)]),
      call('pump', 'own', 1),
      system(CALL.kill, 'sender', 9),
      system(CALL.exit, 0),
    ],
  ),

  /** writes all files, then powers off */
  define('end', [], [system(CALL.sync), system(CALL.reboot, ...POWER_OFF, 0), give(1)]),
];
