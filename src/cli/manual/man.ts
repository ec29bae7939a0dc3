import { QUOTING_HELP } from '../../schema/option-string.ts';
import type { Flag } from '../flag.ts';
import { LOCAL_COMMANDS } from '../remote-commands.ts';
import { DAEMON, REMOTE, type Command } from './commands.ts';
import { bold, example, heading, item, paragraphs, plain } from './roff.ts';

/** Texts of a page that are not in the tables. */
interface Prose {
  readonly synopsis: readonly string[];
  readonly description: readonly string[];
  readonly environment: readonly (readonly [string, string])[];
  readonly files: readonly (readonly [string, string])[];
  readonly exit: readonly (readonly [string, string])[];
  readonly examples: readonly (readonly string[])[];
  readonly seeAlso: readonly string[];
}

const DAEMON_PROSE: Prose = {
  synopsis: ['cloud-hypervisor [--api-socket <path>] [--kernel <path> [VM options]] [options]'],
  description: [
    'Starts one virtual machine, with KVM if the host has it and by emulation otherwise, and serves the Cloud Hypervisor API for it.',
    'With --kernel or --firmware a VM boots at once. With --api-socket the VMM serves the API. Several values may follow one flag: --disk path=a path=b. Sizes take K, M or G.',
    `${QUOTING_HELP}.`,
  ],
  environment: [
    ['NEPHOS_ACCEL', 'accelerator: kvm, hvf or tcg; default: kvm if the host has it, else tcg'],
    ['NEPHOS_QEMU', 'path of qemu-system-x86_64; default: the one on the PATH'],
    [
      'NEPHOS_CACHE',
      'folder for files that can be created again; default: $XDG_CACHE_HOME/nephos or ~/.cache/nephos',
    ],
  ],
  files: [['~/.cache/nephos/boot/', 'unpacked kernels and initramfs archives, 1 GiB at most']],
  exit: [
    ['0', 'the guest powered itself off, vmm.shutdown, SIGTERM, SIGINT, SIGHUP; --help and --version'],
    ['1', 'an option string that cannot be parsed, a VM that does not boot, a socket that cannot be created'],
    ['2', 'a usage error: an unknown flag, a missing or superfluous value'],
  ],
  examples: [
    ['cloud-hypervisor --api-socket /tmp/ch.sock'],
    [
      'cloud-hypervisor --kernel vmlinuz --initramfs initrd.gz --cmdline console=ttyS0 \\',
      '    --cpus boot=2 --memory size=1G --disk path=root.raw --serial tty --console off',
    ],
  ],
  seeAlso: ['ch-remote(1)', 'qemu-system-x86_64(1)'],
};

const REMOTE_PROSE: Prose = {
  synopsis: [
    'ch-remote --api-socket <path> <command> [arguments]',
    'ch-remote snapshot compose [--durable] <directory> <new_directory>',
  ],
  description: [
    'Sends one request to the API of a running cloud-hypervisor and prints the answer.',
    'The option strings of add-* and restore are those of the flags of cloud-hypervisor with the same name.',
    'Options of later releases without effect are ignored with a warning on standard error.',
  ],
  environment: [],
  files: [],
  exit: [
    ['0', 'success'],
    ['1', 'the request failed or could not be sent; the reason is on standard error'],
    [
      '2',
      'a command line that cannot be understood: an unknown command or option, an argument too few or too many',
    ],
  ],
  examples: [
    ['ch-remote --api-socket /tmp/vm.sock create vm.json && ch-remote --api-socket /tmp/vm.sock boot'],
    ['ch-remote --api-socket /tmp/vm.sock add-disk path=/images/data.raw,id=data'],
  ],
  seeAlso: ['cloud-hypervisor(1)'],
};

/** Returns the manual page of `cloud-hypervisor`. */
export function daemonPage(): string {
  return page(DAEMON, DAEMON_PROSE);
}

/** Returns the manual page of `ch-remote`. */
export function remotePage(): string {
  const local = LOCAL_COMMANDS.map((one) => ({ ...one, flags: [], syntax: '' }));
  return page({ ...REMOTE, subcommands: [...REMOTE.subcommands, ...local] }, REMOTE_PROSE);
}

function page({ name, summary, flags, subcommands }: Command, prose: Prose): string {
  return [
    String.raw`.\" Made by npm run manual, not to be edited.`,
    `.TH ${name.toUpperCase().replaceAll('-', String.raw`\-`)} 1 "" Nephos "Nephos manual"`,
    ...heading('name'),
    `${plain(name)} \\- ${plain(summary)}`,
    ...heading('synopsis'),
    ...prose.synopsis.map(bold),
    ...heading('description'),
    ...paragraphs(prose.description),
    ...heading('options'),
    ...flags.flatMap(flagItem),
    ...(subcommands.length === 0 ? [] : heading('commands')),
    ...subcommands.flatMap((one) => item(`${one.name} ${one.usage}`.trimEnd(), [`${one.summary}.`])),
    ...rows('environment', prose.environment),
    ...rows('files', prose.files),
    ...rows('exit status', prose.exit),
    ...heading('examples'),
    ...prose.examples.flatMap(example),
    ...heading('see also'),
    prose.seeAlso.map(plain).join(', '),
    '',
  ].join('\n');
}

function flagItem({ name, short, takes, doc, syntax = '', fallback = '' }: Flag): string[] {
  const names = [`--${name}`, ...(short === undefined ? [] : [`-${short}`])].join(', ');
  const value = takes === 'none' ? '' : ` <${name}>${takes === 'many' ? '...' : ''}`;
  const byDefault = fallback === '' ? '' : ` Default: ${fallback}.`;
  return item(`${names}${value}`, [`${doc}.${byDefault}`, ...(syntax === '' ? [] : [breakable(syntax)])]);
}

/** Allows line breaks after the commas of a long option string; a formatter breaks at spaces only. */
function breakable(syntax: string): string {
  return syntax.replaceAll(',', ', ').replaceAll(',  ', ', ');
}

function rows(title: string, pairs: readonly (readonly [string, string])[]): string[] {
  if (pairs.length === 0) return [];
  return [...heading(title), ...pairs.flatMap(([term, text]) => item(term, [`${text}.`]))];
}
