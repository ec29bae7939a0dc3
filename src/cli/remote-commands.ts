import { VmReceiveMigrationData, VmSendMigrationData } from '../api/requests.ts';
import type { Device } from '../devices/device.ts';
import { devicesInOrder } from '../devices/table.ts';
import type { Flag } from './flag.ts';
import {
  argumentBody,
  deviceBody,
  migrationBody,
  resizeBody,
  resizeDiskBody,
  resizeZoneBody,
  restoreBody,
  snapshotBody,
  type MakeBody,
} from './remote-bodies.ts';

/** A sub-command of `ch-remote`. */
export interface RemoteCommand {
  readonly name: string;
  /** arguments, in the form of the help */
  readonly usage: string;
  readonly summary: string;
  /** maximum number of arguments */
  readonly takes: 0 | 1;
  /** its own options, each with a value */
  readonly options: readonly string[];
  /** options without a value, with their texts */
  readonly switches?: Readonly<Record<string, string>>;
  /** options without a value that are accepted without effect */
  readonly ignored?: readonly string[];
  /** request that the command sends */
  readonly request: {
    readonly method: 'GET' | 'PUT';
    readonly endpoint: string;
    /** true if the answer has no end, and is printed as it comes */
    readonly isStream?: boolean;
    /** true if the connection becomes a terminal */
    readonly isTerminal?: boolean;
    /** true if the first argument names a file with the body (`-` or no argument: standard input) */
    readonly bodyFromFile?: boolean;
    readonly body?: MakeBody;
  };
}

/** All sub-commands in the order of the help. */
export const REMOTE_COMMANDS: readonly RemoteCommand[] = [
  get('ping', 'vmm.ping', 'Check for API server availability'),
  get('info', 'vm.info', 'Info on the VM'),
  get('counters', 'vm.counters', 'Counters from the VM'),
  {
    name: 'events',
    usage: '[--follow]',
    summary: 'Events of the VM and the VMM as lines of JSON',
    takes: 0,
    options: [],
    switches: { follow: 'Prints further events until the VMM exits' },
    request: { method: 'GET', endpoint: 'vmm.events', isStream: true },
  },
  {
    name: 'console',
    usage: '[--device serial|console] [--read-only]',
    summary: 'Attach the terminal to a console of the VM; Ctrl-] disconnects',
    takes: 0,
    options: ['device'],
    switches: { 'read-only': 'Sends no input' },
    request: { method: 'GET', endpoint: 'vm.console', isTerminal: true },
  },
  {
    name: 'create',
    usage: '[path]',
    summary: 'Create VM from a JSON configuration (- or no path: standard input)',
    takes: 1,
    options: [],
    request: { method: 'PUT', endpoint: 'vm.create', bodyFromFile: true },
  },
  put('boot', 'vm.boot', 'Boot a created VM'),
  put('delete', 'vm.delete', 'Delete a VM'),
  put('shutdown', 'vm.shutdown', 'Shutdown the VM'),
  put('reboot', 'vm.reboot', 'Reboot the VM'),
  put('pause', 'vm.pause', 'Pause the VM'),
  put('resume', 'vm.resume', 'Resume the VM'),
  put('power-button', 'vm.power-button', 'Trigger a power button in the VM'),
  put('nmi', 'vm.nmi', 'Inject an NMI'),
  put('shutdown-vmm', 'vmm.shutdown', 'Shutdown the VMM'),
  ...devicesInOrder('command').flatMap(addCommand),
  take('remove-device', '<id>', 'Remove device', argumentBody('id')),
  {
    ...take('resize', '[--cpus N] [--memory SIZE] [--balloon SIZE]', 'Resize the VM', resizeBody),
    takes: 0,
    options: ['cpus', 'memory', 'balloon'],
  },
  {
    ...take('resize-disk', '--disk ID --size SIZE', 'Resize a disk', resizeDiskBody),
    takes: 0,
    options: ['disk', 'size'],
  },
  {
    ...take('resize-zone', '--id ID --size SIZE', 'Resize a memory zone', resizeZoneBody),
    takes: 0,
    options: ['id', 'size'],
  },
  {
    ...take(
      'snapshot',
      '[--live [--disks copy]] [--diff | --compose] <destination_url>',
      'Create a snapshot from VM',
      snapshotBody,
    ),
    options: ['disks'],
    switches: {
      live: 'The VM may be running, and runs on',
      diff: 'Writes only the pages that differ from the last snapshot',
      compose: 'As --diff, then replaces it by a full snapshot; the VM may be resumed meanwhile',
    },
  },
  take('coredump', '<destination_url>', 'Create a coredump from VM', argumentBody('destination_url')),
  take('restore', '<restore_config>', 'Restore VM from a snapshot', restoreBody),
  {
    ...take(
      'send-migration',
      '<destination_url>',
      'Initiate a VM migration',
      migrationBody(VmSendMigrationData, 'destination_url', 'send migration'),
    ),
    ignored: ['local'],
  },
  take(
    'receive-migration',
    '<receiver_url>',
    'Receive a VM migration',
    migrationBody(VmReceiveMigrationData, 'receiver_url', 'receive migration'),
  ),
];

/** Sub-commands that need no VMM, for the help and the manual. */
export const LOCAL_COMMANDS: readonly Pick<RemoteCommand, 'name' | 'usage' | 'summary' | 'switches'>[] = [
  {
    name: 'snapshot compose',
    usage: '[--durable] <directory> <new_directory>',
    summary: 'Make a full snapshot of one and its bases; needs no VMM',
    switches: { durable: 'Stores all files on the disk before it ends' },
  },
];

/** Flags that may precede the sub-command. */
export const REMOTE_FLAGS: readonly Flag[] = [
  { name: 'help', short: 'h', takes: 'none', doc: 'Prints help information' },
  { name: 'version', short: 'V', takes: 'none', doc: 'Prints version information' },
  { name: 'api-socket', takes: 'one', doc: 'HTTP API socket path (UNIX domain socket)', syntax: '<path>' },
];

/** Returns the text of `--help`. */
export function remoteHelp(version: string): string {
  return [
    version,
    'Remotely control a cloud-hypervisor VMM.',
    '',
    'USAGE:',
    '    ch-remote --api-socket <api-socket> <SUBCOMMAND>',
    '',
    'FLAGS:',
    ...REMOTE_FLAGS.filter(({ takes }) => takes === 'none').map(flagHelp),
    '',
    'OPTIONS:',
    ...REMOTE_FLAGS.filter(({ takes }) => takes !== 'none').map(flagHelp),
    '',
    'SUBCOMMANDS:',
    ...REMOTE_COMMANDS.map(commandHelp),
    ...LOCAL_COMMANDS.map(commandHelp),
    '',
    'The option strings of add-* and restore are those of the flags of cloud-hypervisor with the same name.',
    '',
    'EXAMPLES:',
    '    ch-remote --api-socket /tmp/vm.sock create vm.json && ch-remote --api-socket /tmp/vm.sock boot',
    '    ch-remote --api-socket /tmp/vm.sock add-fs tag=src,directory=/home/me/src,id=src',
    '',
  ].join('\n');
}

function flagHelp({ name, short, syntax, doc }: Flag): string {
  const letter = short === undefined ? '    ' : `-${short}, `;
  return `    ${letter}${`--${name} ${syntax ?? ''}`.padEnd(24)}${doc}`;
}

function commandHelp({ name, usage, summary }: Pick<RemoteCommand, 'name' | 'usage' | 'summary'>): string {
  const call = `${name} ${usage}`.trimEnd();
  const gap = call.length > 26 ? `\n${' '.repeat(32)}` : ' '.repeat(28 - call.length);
  return `    ${call}${gap}${summary}`;
}

function get(name: string, endpoint: string, summary: string): RemoteCommand {
  return { name, usage: '', summary, takes: 0, options: [], request: { method: 'GET', endpoint } };
}

function put(name: string, endpoint: string, summary: string): RemoteCommand {
  return { name, usage: '', summary, takes: 0, options: [], request: { method: 'PUT', endpoint } };
}

/** Returns the command that adds a device, for kinds with an add request. */
function addCommand(device: Device): RemoteCommand[] {
  const { hotAdd } = device;
  if (hotAdd === undefined) return [];
  const { command, route } = hotAdd;
  return [take(route.replace('vm.', ''), command.usage, command.summary, deviceBody(device, command))];
}

/** Returns a command with one argument or with options, whose endpoint has the same name. */
function take(name: string, usage: string, summary: string, body: MakeBody): RemoteCommand {
  const request = { method: 'PUT', endpoint: `vm.${name}`, body } as const;
  return { name, usage, summary, takes: 1, options: [], request };
}
