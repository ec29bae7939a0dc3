import type { GuestCommand, RenderCommand } from '../../guest/guest.ts';

/*
 * Command texts for the guest tools: the owner process runs them as the user `nephos` of dropbear on the virtio-serial port.
 *
 *   exec /bin/enter image run FLAGS DIRECTORY USER COUNT VARIABLES... COMMAND...
 *
 * The helper `enter` (helper/main.ts) becomes the command: it leads a session and a process group of its own, and the exit status of the
 * SSH channel is the command's: a code, or `exit-signal`. 126: it cannot be executed, 127: it was not found; a message is on stderr.
 *
 * To end a command, send a request `signal` on its channel (RFC 4254, 6.9; `channel.signal('KILL')` of ssh2): it reaches the whole process
 * group, also with a terminal. Closing the channel ends nothing.
 */

/** Largest text of an `exec` request that dropbear accepts, in bytes. */
export const LARGEST_COMMAND_TEXT = 9000;

/** Changes of a guest after a restore, before a command starts. */
export interface GuestRefresh {
  /** time of the host in `milliseconds` since 1970 */
  readonly now: number;
  /** random bytes, 64 at least; at most 256 are used */
  readonly entropy: Buffer;
  readonly hostname?: string;
  /** 32 hexadecimal digits for an image with /etc/machine-id */
  readonly machineId?: string;
  /** IPv4 address of the guest in /etc/hosts */
  readonly address?: string;
}

/**
 * Renders a command for the image's tree. Without words it is the log-in shell of the user. A text is run by `/bin/sh -c`. The variables
 * are exactly these, beside PATH and HOME, which are added if they are absent, and TERM of a terminal.
 */
export const enterCommand: RenderCommand = (command, terminal) =>
  renderSteps(['image', ...runStep(command, terminal ? 't' : '-')]);

/** Renders the first command of a VM: after a refresh, and in a working directory that is made if it is absent. */
export function firstCommand(command: GuestCommand, terminal: boolean, refresh?: GuestRefresh): string {
  const steps = refresh === undefined ? ['image'] : refreshSteps(refresh);
  return renderSteps(['mark', ...steps, ...runStep(command, terminal ? 'tw' : 'w')]);
}

/**
 * Command for the shell of the tools that sends a signal, by its number, to the process group of the first command. The SSH server sends only
 * signals that SSH has names for (RFC 4254, 6.10).
 */
export function signalFirstCommand(signal: number): string {
  return `read -r id rest </command && kill -${signal} -$id`;
}

/** Renders a command that only refreshes the guest. */
export function refreshCommand(refresh: GuestRefresh): string {
  return renderSteps(refreshSteps(refresh));
}

/** Command of one more SSH server, whose connection is the stdin and stdout of this command; its host key is made on first use. */
export const RELAY_COMMAND = 'exec /bin/enter relay';

/** Command that writes all files and powers off. It never exits. */
export const POWER_OFF_COMMAND = 'exec /bin/enter end';

/** Renders steps as words of `sh`; the helper reads them without a shell. @throws RangeError for a text with a NUL */
export function renderSteps(words: readonly string[]): string {
  return `exec /bin/enter ${words.map(quote).join(' ')}`;
}

function runStep({ argv, cwd, env = {}, user }: GuestCommand, flags: string): string[] {
  const command = typeof argv === 'string' ? ['/bin/sh', '-c', argv] : argv;
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return ['run', flags, cwd ?? '/', user ?? '', `${variables.length}`, ...variables, ...command];
}

function refreshSteps({ now, entropy, hostname, machineId, address }: GuestRefresh): string[] {
  const seconds = Math.floor(now / 1000);
  const nanoseconds = Math.floor((now - seconds * 1000) * 1e6);
  return [
    ...['entropy', entropy.subarray(0, 256).toString('hex')],
    ...['clock', `${seconds}`, `${nanoseconds}`],
    ...['remove', '/etc/dropbear/dropbear_ed25519_host_key'],
    'image',
    ...(hostname === undefined ? [] : identitySteps(hostname, address)),
    ...(machineId === undefined ? [] : ['rewrite', '/etc/machine-id', `${machineId}\n`]),
  ];
}

/** Steps that set the host name, in the image's tree. */
export function identitySteps(hostname: string, address: string | undefined): string[] {
  return [
    ...['hostname', hostname],
    ...['try', 'write', '/etc/hostname', `${hostname}\n`],
    ...['try', 'write', '/etc/hosts', hostsFile(hostname, address)],
  ];
}

/** Renders /etc/hosts as docker does. */
function hostsFile(hostname: string, address = '127.0.1.1'): string {
  return [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'ff00::0\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
    `${address}\t${hostname}`,
    '',
  ].join('\n');
}

function quote(word: string): string {
  if (word.includes('\0')) throw new RangeError('a command must not have a NUL');
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
