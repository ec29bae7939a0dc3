import { ConfigError } from '../config/errors.ts';
import { parseVmConfig, type FlagTexts } from '../config/from-words.ts';
import type { DecodedVmConfig } from '../config/decode-vm-config.ts';
import type { MonitorTarget } from '../host/system/event-monitor.ts';
import type { ListenAddress } from '../http/listener.ts';
import { DecodeError } from '../schema/decode.ts';
import { didYouMean, nearest } from '../util/nearest.ts';
import type { Flag } from './flag.ts';
import { OptionError, parseFlags, UsageError, type ParsedFlags } from './flags.ts';
import { GUEST_ACTIONS, type GuestAction } from '../vm/guest-exit/outcome.ts';
import { decodeRestore, type DecodedRestore } from './restore-words.ts';
import { readApiSocket, readEventMonitor, readPathOption, readWebAddress } from './sockets.ts';
import type { WebAddress } from '../web/listener.ts';
import { VM_FLAGS } from './vm-flags.ts';

/** Decoded command line of `cloud-hypervisor`. */
export interface DaemonOptions {
  readonly show: 'help' | 'version' | undefined;
  /** 0 to 3: how often `-v` was given */
  readonly verbosity: number;
  readonly logFile: string | undefined;
  /** QEMU has no mode `log`: it runs without a filter then */
  readonly seccomp: Seccomp;
  /** user that QEMU runs as: `<name>` or `<uid>:<gid>` */
  readonly user: string | undefined;
  readonly apiSocket: ListenAddress | undefined;
  /** address of the page for browsers */
  readonly web: WebAddress | undefined;
  readonly eventMonitors: readonly MonitorTarget[];
  /** path of the socket for metrics */
  readonly metrics: string | undefined;
  /** path of the socket for GDB */
  readonly gdb: string | undefined;
  /** the VMM keeps running after the guest's power-off */
  readonly noShutdown: boolean;
  /** a thread is kept for the devices of the next VM */
  readonly spareThread: boolean;
  /** action after a panic of the guest's kernel; undefined: the guest decides */
  readonly onPanic: GuestAction | undefined;
  /** action after a reset by the guest */
  readonly onReboot: GuestAction;
  /** VM that boots at once */
  readonly vm: DecodedVmConfig | undefined;
  /** flags of a VM that have no effect because no VM boots */
  readonly idleFlags: readonly string[];
  /** flags that never have an effect */
  readonly ignoredFlags: readonly string[];
  /** snapshot that is restored at once, if no VM boots */
  readonly restore: DecodedRestore | undefined;
}

const SECCOMP = ['true', 'false', 'log', 'errno'] as const;
/** Value of `--seccomp`. */
export type Seccomp = (typeof SECCOMP)[number];

/** Flags of later releases that are accepted without effect, so that existing command lines work. */
const FLAGS_WITHOUT_EFFECT: readonly Flag[] = [
  { name: 'log-format', takes: 'one', doc: 'Ignored: the log has one format', syntax: '<format>' },
  {
    name: 'rtc',
    takes: 'one',
    doc: 'Ignored: QEMU has no virtio-rtc device',
    syntax: 'iommu=on|off',
    fallback: '',
  },
];

/** Flags that concern the VMM. */
export const VMM_FLAGS: readonly Flag[] = [
  {
    name: 'api-socket',
    takes: 'many',
    doc: 'Serve the API on a UNIX socket',
    syntax: 'path=<path>|<path>|fd=<fd>',
  },
  {
    name: 'event-monitor',
    takes: 'many',
    doc: 'Record lifecycle events of the VM as JSON; may be given several times',
    syntax: 'path=<path>|fd=<fd>',
  },
  {
    name: 'metrics',
    takes: 'one',
    doc: 'Serve metrics for Prometheus on a UNIX socket, at /metrics',
    syntax: 'path=<path>|<path>',
  },
  {
    name: 'web',
    takes: 'one',
    doc: 'Serve the API and a page for browsers; the log has its URL with a token. A bare port is one of 127.0.0.1, port 0 any free one',
    syntax: '<port>|<address>:<port>|path=<path>|fd=<fd>',
  },
  {
    name: 'restore',
    takes: 'many',
    doc: 'Restore a VM from a snapshot',
    syntax: 'source_url=<url>,prefault=on|off,resume=on|off',
  },
  {
    name: 'gdb',
    takes: 'one',
    doc: 'Listen for GDB on a UNIX socket; a VM of the command line waits for it',
    syntax: 'path=<path>',
  },
  {
    name: 'no-shutdown',
    takes: 'none',
    doc: 'Keep running after the guest powers off: the VM is Shutdown and can boot again',
  },
  {
    name: 'spare-thread',
    takes: 'none',
    doc: 'Keep a thread ready while there is no VM: a VM with a vsock or a shared directory is restored faster; takes 7 MiB',
  },
  {
    name: 'on-panic',
    takes: 'one',
    doc: 'After a panic of the guest\u2019s kernel: exit with code 1, reboot, or pause the VM; needs --pvpanic. Without this flag the guest decides',
    syntax: GUEST_ACTIONS.join('|'),
  },
  {
    name: 'on-reboot',
    takes: 'one',
    doc: 'After a reset by the guest: exit with code 0 (1 after a panic or a watchdog), reboot, or reboot and pause',
    syntax: GUEST_ACTIONS.join('|'),
    fallback: 'restart',
  },
  {
    name: 'seccomp',
    takes: 'one',
    doc: 'Confine QEMU with seccomp (log: no filter, because QEMU has no such mode; errno: as true)',
    syntax: 'true|false|log|errno',
    fallback: 'true',
  },
  {
    name: 'user',
    takes: 'one',
    doc: 'Run QEMU as another user, with the rights of that user; needs root',
    syntax: '<name>|<uid>:<gid>',
  },
  {
    name: 'log-file',
    takes: 'many',
    doc: 'Write the log to a file instead of standard error',
    syntax: '<path>',
  },
  ...FLAGS_WITHOUT_EFFECT,
  { name: 'verbose', short: 'v', takes: 'none', doc: 'Log more: -v info, -vv debug, -vvv trace' },
  { name: 'help', short: 'h', takes: 'none', doc: 'Show this help' },
  { name: 'version', short: 'V', takes: 'none', doc: 'Show the version' },
];

/**
 * Reads the command line. Decodes the flags of a VM only with `--kernel` or `--firmware`.
 * @throws UsageError
 */
export function readDaemonOptions(argv: readonly string[]): DaemonOptions {
  const flags = parseFlags([...VM_FLAGS, ...VMM_FLAGS], argv);
  const show = flags.count('help') > 0 ? 'help' : flags.count('version') > 0 ? 'version' : undefined;
  const socket = flags.values('api-socket')[0];
  const metrics = flags.values('metrics')[0];
  const gdb = flags.values('gdb')[0];
  const web = flags.values('web')[0];
  return {
    show,
    verbosity: flags.count('verbose'),
    logFile: flags.values('log-file')[0],
    seccomp: readSeccomp(flags.values('seccomp')[0] ?? 'true'),
    user: flags.values('user')[0],
    apiSocket: socket === undefined ? undefined : readApiSocket(socket),
    web: web === undefined ? undefined : readWebAddress(web),
    metrics: metrics === undefined ? undefined : readPathOption('metrics', metrics),
    gdb: gdb === undefined ? undefined : readPathOption('gdb', gdb),
    noShutdown: flags.count('no-shutdown') > 0,
    spareThread: flags.count('spare-thread') > 0,
    eventMonitors: flags.values('event-monitor').map(readEventMonitor),
    onPanic: readAction(flags, 'on-panic'),
    onReboot: readAction(flags, 'on-reboot') ?? 'restart',
    ...(show === undefined ? readStart(flags) : { vm: undefined, restore: undefined, idleFlags: [] }),
    ignoredFlags: FLAGS_WITHOUT_EFFECT.map(({ name }) => name).filter((name) => flags.count(name) > 0),
  };
}

/** Reads the VM or snapshot that starts at once. A kernel takes precedence over a snapshot, as in Cloud Hypervisor. */
function readStart(flags: ParsedFlags): Pick<DaemonOptions, 'vm' | 'restore' | 'idleFlags'> {
  const [snapshot] = flags.values('restore');
  if (['kernel', 'firmware', 'igvm'].some((name) => flags.count(name) > 0))
    return { vm: readVm(flags), restore: undefined, idleFlags: [] };
  const restore = snapshot === undefined ? undefined : readRestore(snapshot);
  return { vm: undefined, restore, idleFlags: readIdleFlags(flags) };
}

/** Returns flags of a VM that were given although no VM boots. */
function readIdleFlags(flags: ParsedFlags): readonly string[] {
  return VM_FLAGS.map(({ name }) => name).filter((name) => flags.count(name) > 0);
}

function readRestore(text: string): DecodedRestore {
  try {
    return decodeRestore(text);
  } catch (error) {
    if (error instanceof ConfigError) throw new OptionError(error.message, error.hint, { cause: error });
    if (error instanceof DecodeError || error instanceof SyntaxError)
      throw new OptionError(`Error parsing --restore: ${error.message}`, undefined, { cause: error });
    throw error;
  }
}

function readVm(flags: ParsedFlags): DecodedVmConfig {
  const texts: FlagTexts = Object.fromEntries(
    VM_FLAGS.filter(({ name }) => flags.count(name) > 0).map(({ name }) => [name, flags.values(name)]),
  );
  try {
    return parseVmConfig(texts, {
      members: flags.count('gdb') === 0 ? {} : { gdb: true },
      hasLaterFlags: flags.count('rtc') > 0,
    });
  } catch (error) {
    if (error instanceof ConfigError) {
      throw new OptionError(`Error parsing config: ${error.message}`, error.hint, { cause: error });
    }
    throw error;
  }
}

function readAction(flags: ParsedFlags, name: string): GuestAction | undefined {
  const [value] = flags.values(name);
  const known = GUEST_ACTIONS.find((one) => one === value);
  if (known !== undefined || value === undefined) return known;
  throw new UsageError(
    `'${value}' isn't a valid value for '--${name} <${name}>' (${GUEST_ACTIONS.join(', ')})`,
  );
}

function readSeccomp(value: string): Seccomp {
  const known = SECCOMP.find((one) => one === value);
  if (known !== undefined) return known;
  throw new UsageError(
    `'${value}' isn't a valid value for '--seccomp <seccomp>' (${SECCOMP.join(', ')})`,
    didYouMean(nearest(value, SECCOMP)),
  );
}
