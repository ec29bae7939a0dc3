import { CALL, ERROR, OPEN } from './calls.ts';
import {
  add,
  atLeast,
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
  storeByte,
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
 * Process 1, and the SSH servers. Process 1 starts dropbear on a virtio-serial port, starts it again if it ends, and waits for every orphan. dropbear
 * runs in the tools' tree; process 1 has the image's tree as its root.
 */

/** reboot(2): LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF */
const POWER_OFF = [0xfee1_dead, 0x2812_1969, 0x4321_fedc] as const;

const RLIMIT_NOFILE = 7;
/** Most open files of a process, as systemd sets them */
const OPEN_FILES = { soft: 1024, hard: 524_288 };

/** Delay before a server is started again, in nanoseconds. */
const RETRY_NS = 20_000_000;

/** Delay before the port is looked for again, in nanoseconds; and the most attempts. */
const [PORT_RETRY_NS, PORT_ATTEMPTS] = [2_000_000, 5000];

/** The kernel numbers the buses of virtio-serial together with all other virtio devices: 0 to 79 are tried. */
const BUS_TENS = 8;
const ZERO = 0x30;

/** poll.h */
const POLLIN = 1;

const BUFFER_BYTES = 65_536;

const path = space('port path', 32);
const pair = space('socket pair', 8);
const buffer = space('buffer', BUFFER_BYTES);

/** Descriptor of the tools' tree, of the port */
export const TOOLS_FD = space('tools fd', 8);
const port = space('port fd', 8);

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

/** dropbear takes its peer's address from a socket; the preloaded library answers for a port. */
const SERVER_ENVIRONMENT = [text('PATH=/bin:/sbin'), text('LD_PRELOAD=/lib/peer.so')];
/** -B: the method `none` for users without a password; -m: no message of the day; -W: receive window */
const SERVER = ['/sbin/dropbear', '-i', '-B', '-m', '-W', '262144'].map((word) => text(word));

export const PROCESS_FUNCTIONS: readonly ProgramFunction[] = [
  /** opens the virtio-serial port of the VM: one program at a time may have it open; -1 if there is none */
  define(
    'findPort',
    [],
    [
      set('tens', 0),
      loop(less('tens', BUS_TENS), [
        set('ones', 0),
        loop(less('ones', 10), [
          set('at', call('copy', path, text('/dev/vport'))),
          when('tens', [storeByte('at', add('tens', ZERO)), set('at', add('at', 1))]),
          storeByte('at', add('ones', ZERO)),
          call('copy', add('at', 1), text('p1')),
          set('fd', system(CALL.open, path, OPEN.readWrite, 0)),
          when(atLeast('fd', 0), [give('fd')]),
          set('ones', add('ones', 1)),
        ]),
        set('tens', add('tens', 1)),
      ]),
      give(-1),
    ],
  ),

  /** opens the port when the kernel has made it; it stays open, because QEMU discards input of a closed port */
  define(
    'openPort',
    [],
    [
      storeWord(add(space('pause', 16), 8), PORT_RETRY_NS),
      set('attempts', 0),
      loop(less('attempts', PORT_ATTEMPTS), [
        set('fd', call('findPort')),
        when(atLeast('fd', 0), [give('fd')]),
        system(CALL.nanosleep, space('pause', 16), 0),
        set('attempts', add('attempts', 1)),
      ]),
      call('complain', text('cannot open '), text('/dev/vport*p1'), ERROR.notFound),
      give(-1),
    ],
  ),

  /** discards input that has arrived for an earlier server */
  define(
    'discardInput',
    [],
    [
      storeInt(space('polled', 8), wordAt(port)),
      storeInt(add(space('polled', 8), 4), POLLIN),
      set('count', 1),
      loop(both(less(0, 'count'), equal(system(CALL.poll, space('polled', 8), 1, 0), 1)), [
        set('count', system(CALL.read, wordAt(port), buffer, BUFFER_BYTES)),
      ]),
    ],
  ),

  /** starts dropbear on the port; gives its process id */
  define(
    'startServer',
    [],
    [
      call('discardInput'),
      set('id', system(CALL.fork)),
      when('id', [give('id')]),
      system(CALL.fchdir, wordAt(TOOLS_FD)),
      system(CALL.chroot, text('.')),
      system(CALL.chdir, text('/')),
      system(CALL.setsid),
      system(CALL.dup2, wordAt(port), 0),
      system(CALL.dup2, wordAt(port), 1),
      set('null', system(CALL.open, text('/dev/null'), OPEN.readWrite, 0)),
      system(CALL.dup2, 'null', 2),
      system(CALL.close, 'null'),
      system(CALL.close, wordAt(port)),
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
      storeWord(port, call('openPort')),
      when(less(wordAt(port), 0), [give(1)]),
      storeWord(add(space('pause', 16), 8), RETRY_NS),
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
