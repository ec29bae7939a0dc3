import { CALL, ERROR, OPEN } from './calls.ts';
import {
  add,
  bitAnd,
  both,
  byteAt,
  call,
  define,
  equal,
  give,
  less,
  loop,
  multiply,
  set,
  space,
  storeByte,
  storeInt,
  storeWord,
  subtract,
  system,
  text,
  unequal,
  when,
  type ProgramFunction,
  type Statement,
  type Value,
} from '../machine-code/program.ts';

/*
 * Steps that prepare a guest: at its boot, and after a restore. A step takes its words with `next`, and gives 0, or 1 after a
 * message. `steps.ts` beside `boot-steps.ts` and `enter-command.ts`, which render them.
 */

/** asm-generic/ioctls.h, linux/random.h, linux/sockios.h */
const REQUEST = {
  addEntropy: 0x4008_5203,
  reseed: 0x5207,
  setAddress: 0x8916,
  setMask: 0x891c,
  setFlags: 0x8914,
  addRoute: 0x890b,
} as const;

/** `IFF_UP | IFF_RUNNING`; `RTF_UP | RTF_GATEWAY` */
const [INTERFACE_UP, ROUTE_BY_GATEWAY] = [0x41, 3];
const INTERNET = 2;
const DATAGRAM = 2;
const MS_MOVE = 0x2000;

/** Address of the next word; an empty text if there is none. */
const next = call('next');

/** Ends the step with a message if a system call failed. */
const checked = (result: Value, what: string, name: Value): Statement[] => [
  set('result', result),
  when(less('result', 0), [call('complain', text(what), name, subtract(0, 'result')), give(1)]),
];

const WRITE_FLAGS = OPEN.write | OPEN.create | OPEN.truncate | OPEN.noFollow | OPEN.closeOnExec;

const request = space('interface request', 40);
const route = space('route', 120);
const entropy = space('entropy', 8 + 256);

export const STEP_FUNCTIONS: readonly ProgramFunction[] = [
  /** decodes hexadecimal digits to bytes; gives their number */
  define(
    'hex',
    ['to', 'from'],
    [
      set('count', 0),
      loop(both(byteAt('from'), byteAt(add('from', 1))), [
        storeByte(
          'to',
          add(multiply(call('digit', byteAt('from')), 16), call('digit', byteAt(add('from', 1)))),
        ),
        set('to', add('to', 1)),
        set('from', add('from', 2)),
        set('count', add('count', 1)),
      ]),
      give('count'),
    ],
  ),

  define(
    'digit',
    ['character'],
    [
      when(less('character', 0x40), [give(subtract('character', 0x30))]),
      give(bitAnd(subtract('character', 0x57), 15)),
    ],
  ),

  /** loads a kernel module; one that this kernel does not accept is not an error, its driver may be built in */
  define(
    'load',
    [],
    [
      set('fd', system(CALL.open, next, OPEN.read | OPEN.closeOnExec, 0)),
      when(less('fd', 0), [give(0)]),
      system(CALL.finitModule, 'fd', text(''), 0),
      system(CALL.close, 'fd'),
    ],
  ),

  /** mount SOURCE TARGET TYPE FLAGS DATA */
  define(
    'mount',
    [],
    [
      set('source', next),
      set('target', next),
      set('type', next),
      set('flags', call('number', next)),
      ...checked(system(CALL.mount, 'source', 'target', 'type', 'flags', next), 'cannot mount ', 'target'),
    ],
  ),

  /** makes a directory and those above it */
  define(
    'directory',
    [],
    [
      set('path', next),
      set('at', add('path', 1)),
      set('failure', 0),
      loop(byteAt('at'), [
        when(equal(byteAt('at'), 0x2f), [
          storeByte('at', 0),
          system(CALL.mkdir, 'path', 0o755),
          storeByte('at', 0x2f),
        ]),
        set('at', add('at', 1)),
      ]),
      set('result', system(CALL.mkdir, 'path', 0o755)),
      when(both(less('result', 0), unequal('result', -ERROR.exists)), [
        call('complain', text('cannot make the directory '), 'path', subtract(0, 'result')),
        give(1),
      ]),
    ],
  ),

  /** link TARGET PATH: a symlink; an existing file stays */
  define('link', [], [set('target', next), system(CALL.symlink, 'target', next), give(0)]),

  /** remove PATH */
  define('remove', [], [system(CALL.unlink, next), give(0)]),

  /** write PATH TEXT; a symlink of that name is replaced: its target can be anywhere */
  define(
    'write',
    [],
    [
      set('path', next),
      set('content', next),
      set('fd', system(CALL.open, 'path', WRITE_FLAGS, 0o644)),
      when(equal('fd', -ERROR.loop), [
        system(CALL.unlink, 'path'),
        set('fd', system(CALL.open, 'path', WRITE_FLAGS, 0o644)),
      ]),
      ...checked('fd', 'cannot write ', 'path'),
      set('length', call('length', 'content')),
      ...checked(system(CALL.write, 'fd', 'content', 'length'), 'cannot write ', 'path'),
      system(CALL.close, 'fd'),
    ],
  ),

  /** rewrite PATH TEXT: a file that exists and is not empty */
  define(
    'rewrite',
    [],
    [
      set('path', next),
      set('content', next),
      set('fd', system(CALL.open, 'path', OPEN.readWrite | OPEN.noFollow | OPEN.closeOnExec, 0)),
      when(less('fd', 0), [give(0)]),
      when(less(0, system(CALL.read, 'fd', space('digit', 2), 1)), [
        set('length', call('length', 'content')),
        system(CALL.ftruncate, 'fd', 0),
        system(CALL.pwrite, 'fd', 'content', 'length', 0),
      ]),
      system(CALL.close, 'fd'),
    ],
  ),

  define(
    'hostname',
    [],
    [
      set('name', next),
      set('length', call('length', 'name')),
      ...checked(system(CALL.sethostname, 'name', 'length'), 'cannot set the host name ', 'name'),
    ],
  ),

  /** clock SECONDS NANOSECONDS */
  define(
    'clock',
    [],
    [
      set('seconds', call('longNumber', next)),
      storeWord(space('time', 16), 'seconds'),
      storeWord(add(space('time', 16), 8), call('number', next)),
      ...checked(system(CALL.clockSettime, 0, space('time', 16)), 'cannot set the ', text('clock')),
    ],
  ),

  define(
    'longNumber',
    ['at'],
    [
      set('value', 0),
      loop(byteAt('at'), [
        set('value', add(multiply('value', 10), subtract(byteAt('at'), 0x30))),
        set('at', add('at', 1)),
      ]),
      give('value'),
    ],
  ),

  /** entropy HEX: adds at most 256 random bytes to the kernel's generator, which is then seeded again */
  define(
    'entropy',
    [],
    [
      set('digits', next),
      when(less(512, call('length', 'digits')), [give(1)]),
      set('size', call('hex', add(entropy, 8), 'digits')),
      storeInt(entropy, multiply('size', 8)),
      storeInt(add(entropy, 4), 'size'),
      set('fd', system(CALL.open, text('/dev/urandom'), OPEN.write | OPEN.closeOnExec, 0)),
      ...checked('fd', 'cannot open ', text('/dev/urandom')),
      ...checked(system(CALL.ioctl, 'fd', REQUEST.addEntropy, entropy), 'cannot add ', text('entropy')),
      ...checked(system(CALL.ioctl, 'fd', REQUEST.reseed, 0), 'cannot seed the ', text('random numbers')),
      system(CALL.close, 'fd'),
    ],
  ),

  /** interface NAME ADDRESS MASK: sets an IPv4 address (hexadecimal) and activates the interface */
  define(
    'interface',
    [],
    [
      set('name', next),
      when(less(15, call('length', 'name')), [give(1)]),
      call('copy', request, 'name'),
      set('fd', system(CALL.socket, INTERNET, DATAGRAM, 0)),
      ...checked('fd', 'no IPv4 for ', 'name'),
      storeInt(add(request, 16), INTERNET),
      call('hex', add(request, 20), next),
      ...checked(system(CALL.ioctl, 'fd', REQUEST.setAddress, request), 'cannot configure ', 'name'),
      call('hex', add(request, 20), next),
      ...checked(system(CALL.ioctl, 'fd', REQUEST.setMask, request), 'cannot configure ', 'name'),
      storeWord(add(request, 16), INTERFACE_UP),
      ...checked(system(CALL.ioctl, 'fd', REQUEST.setFlags, request), 'cannot activate ', 'name'),
      system(CALL.close, 'fd'),
    ],
  ),

  /** gateway ADDRESS: the default route */
  define(
    'gateway',
    [],
    [
      set('fd', system(CALL.socket, INTERNET, DATAGRAM, 0)),
      storeInt(add(route, 8), INTERNET),
      storeInt(add(route, 24), INTERNET),
      call('hex', add(route, 28), next),
      storeInt(add(route, 40), INTERNET),
      storeInt(add(route, 56), ROUTE_BY_GATEWAY),
      ...checked(system(CALL.ioctl, 'fd', REQUEST.addRoute, route), 'cannot set the ', text('default route')),
      system(CALL.close, 'fd'),
    ],
  ),

  /** root PATH: makes a mount the root of the mount namespace, and of this process, as switch_root does; user namespaces need that */
  define(
    'root',
    [],
    [
      set('path', next),
      ...checked(system(CALL.chdir, 'path'), 'cannot enter ', 'path'),
      ...checked(system(CALL.mount, text('.'), text('/'), text(''), MS_MOVE, 0), 'cannot move ', 'path'),
      ...checked(system(CALL.chroot, text('.')), 'cannot enter ', 'path'),
      system(CALL.chdir, text('/')),
    ],
  ),

  /** enters the image's tree: the root of process 1 */
  define(
    'image',
    [],
    [
      ...checked(system(CALL.chroot, text('/proc/1/root')), 'cannot enter ', text('the image')),
      system(CALL.chdir, text('/')),
    ],
  ),
];
