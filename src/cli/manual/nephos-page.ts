import { flagsOf } from '../nephos/parse.ts';
import { VERB_GROUPS } from '../nephos/table/verbs.ts';
import type { Verb } from '../nephos/verb.ts';
import type { Flag } from '../flag.ts';
import { bold, example, heading, item, paragraphs, plain } from './roff.ts';

const ENVIRONMENT = [
  ['XDG_STATE_HOME', 'parent of the directories of VMs; default: ~/.local/state'],
  [
    'NEPHOS_CACHE',
    'images, guest tools and warm snapshots; default: $XDG_CACHE_HOME/nephos or ~/.cache/nephos',
  ],
  ['NEPHOS_IMAGES_LIMIT', 'size of the store of images, e.g. 50G; default: 20G'],
  ['NEPHOS_INSECURE_REGISTRIES', 'registries that may be used without TLS, HOST:PORT with commas'],
  ['NEPHOS_ACCEL', 'accelerator: kvm, hvf or tcg; default: kvm if the host has it, else tcg'],
  ['NEPHOS_QEMU', 'path of qemu-system-x86_64; default: the one on the PATH'],
] as const;

const FILES = [
  ['~/.local/state/nephos/vms/NAME/', 'record, sockets, logs and disks of a VM; mode 0700'],
  ['~/.cache/nephos/', 'files that can be created again'],
] as const;

const EXIT = [
  ['0', 'success; for run and exec the command exited with 0'],
  ['1', 'failure; the reason is on standard error'],
  ['2', 'a command line that cannot be understood; for run and exec 125'],
  ['124', 'run, exec: the time limit expired'],
  ['125', 'run, exec: Nephos failed'],
  ['126', 'run, exec: the guest crashed, or the command cannot be executed'],
  ['127', 'run, exec: the command was not found'],
  ['128+N', 'run, exec: signal N ended the command'],
] as const;

/** Returns the manual page of `nephos`. */
export function nephosPage(): string {
  return [
    String.raw`.\" Made by npm run manual, not to be edited.`,
    '.TH NEPHOS 1 "" Nephos "Nephos manual"',
    ...heading('name'),
    `nephos \\- ${plain('run commands in virtual machines')}`,
    ...heading('synopsis'),
    bold('nephos VERB [OPTIONS] [ARGUMENTS]'),
    ...heading('description'),
    ...paragraphs([
      'Runs commands in virtual machines, from images of registries, disk images, directories and kernels. No daemon is necessary: each VM has a process that owns it, and a directory with its sockets and logs.',
      'Each VM has the API of cloud-hypervisor on its socket, so ch-remote and other clients work on it.',
    ]),
    ...VERB_GROUPS.flatMap(({ title, verbs }) => [
      ...heading(title),
      ...verbs.filter(({ isHidden }) => !isHidden).flatMap(verbSection),
    ]),
    ...rows('environment', ENVIRONMENT),
    ...rows('files', FILES),
    ...rows('exit status', EXIT),
    ...heading('see also'),
    ['cloud-hypervisor(1)', 'ch-remote(1)', 'ssh(1)'].map(plain).join(', '),
    '',
  ].join('\n');
}

function verbSection(verb: Verb): string[] {
  const { name, usage, summary, details = [], examples } = verb;
  return [
    `.SS ${plain(`nephos ${name} ${usage}`.trimEnd())}`,
    ...paragraphs([`${summary}.`, ...details]),
    ...flagsOf(verb).flatMap(flagItem),
    '.PP',
    'Examples:',
    '.PP',
    ...example(examples.flatMap(({ command, shows }) => [`# ${shows}`, command])),
  ];
}

function flagItem({ name, short, takes, doc, syntax = '', fallback = '' }: Flag): string[] {
  const names = [...(short === undefined ? [] : [`-${short}`]), `--${name}`].join(', ');
  const byDefault = fallback === '' ? '' : ` Default: ${fallback}.`;
  return item(`${names}${takes === 'none' ? '' : ` ${syntax}`}`, [`${doc}.${byDefault}`]);
}

function rows(title: string, pairs: readonly (readonly [string, string])[]): string[] {
  return [...heading(title), ...pairs.flatMap(([term, text]) => item(term, [`${text}.`]))];
}
