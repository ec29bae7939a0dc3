import type { Flag } from '../../flag.ts';

export const INTERACTIVE: Flag = {
  name: 'interactive',
  short: 'i',
  takes: 'none',
  doc: 'Pass standard input to the command',
};
export const TTY: Flag = { name: 'tty', short: 't', takes: 'none', doc: 'Give the command a terminal' };

/** Flags of `nephos run`. */
export const RUN_FLAGS: readonly Flag[] = [
  INTERACTIVE,
  TTY,
  { name: 'detach', short: 'd', takes: 'none', doc: 'Run in the background, print the name of the VM' },
  { name: 'rm', takes: 'none', doc: 'Remove the VM when its command has ended' },
  { name: 'name', takes: 'one', doc: 'Name of the VM; a random one by default', syntax: 'NAME' },
  {
    name: 'hostname',
    takes: 'one',
    doc: 'Host name of the guest; the name of the VM by default',
    syntax: 'NAME',
  },
  {
    name: 'env',
    short: 'e',
    takes: 'many',
    doc: 'Variable; without a value that of the host',
    syntax: 'NAME[=VALUE]',
  },
  { name: 'env-file', takes: 'many', doc: 'File with variables, one a line', syntax: '<path>' },
  { name: 'workdir', short: 'w', takes: 'one', doc: 'Working directory', syntax: 'DIR' },
  { name: 'user', short: 'u', takes: 'one', doc: 'User of the guest', syntax: 'NAME|UID[:GROUP]' },
  { name: 'entrypoint', takes: 'one', doc: 'Replace the image’s entry point', syntax: 'PROGRAM' },
  {
    name: 'volume',
    short: 'v',
    takes: 'many',
    doc: 'Share a directory of the host',
    syntax: 'HOST:GUEST[:ro]',
  },
  {
    name: 'publish',
    short: 'p',
    takes: 'many',
    doc: 'Forward a port of the host; 0: a free one',
    syntax: '[ADDR:]HOST:GUEST[/udp]',
  },
  {
    name: 'network',
    takes: 'one',
    doc: 'Network of the guest; user: through the host, without privileges',
    syntax: 'none|user',
    fallback: 'user',
  },
  { name: 'cpus', takes: 'one', doc: 'Number of vCPUs', syntax: 'N', fallback: '1' },
  { name: 'memory', short: 'm', takes: 'one', doc: 'RAM', syntax: 'SIZE', fallback: '512M' },
  {
    name: 'timeout',
    takes: 'one',
    doc: 'Time limit of the command, e.g. 30s, 5m; exit code 124',
    syntax: 'TIME',
  },
  { name: 'label', short: 'l', takes: 'many', doc: 'Label, for nephos ps --filter', syntax: 'KEY[=VALUE]' },
  {
    name: 'pull',
    takes: 'one',
    doc: 'When to ask the registry',
    syntax: 'missing|always|never',
    fallback: 'missing',
  },
  { name: 'platform', takes: 'one', doc: 'Platform of the image', syntax: 'linux/amd64|linux/arm64' },
  { name: 'cold', takes: 'none', doc: 'Boot without a warm snapshot, and keep none' },
  { name: 'kernel', takes: 'one', doc: 'Kernel instead of that of Nephos or the image', syntax: '<path>' },
  { name: 'initramfs', takes: 'one', doc: 'Initramfs of the kernel', syntax: '<path>' },
  { name: 'append', takes: 'one', doc: 'Further words for the kernel’s command line', syntax: 'TEXT' },
  {
    name: 'firmware',
    takes: 'one',
    doc: 'UEFI firmware of a disk image: a file, or a name such as OVMF',
    syntax: '<path>',
  },
];
