import { VMM_FLAGS } from '../daemon-options.ts';
import type { Flag } from '../flag.ts';
import { REMOTE_COMMANDS, REMOTE_FLAGS, type RemoteCommand } from '../remote-commands.ts';
import { VM_FLAGS } from '../vm-flags.ts';

/** A command for its completion and its man page, from the same tables as its `--help`. */
export interface Command {
  readonly name: string;
  /** one line, without a full stop */
  readonly summary: string;
  readonly flags: readonly Flag[];
  readonly subcommands: readonly Subcommand[];
}

/** A sub-command. */
export interface Subcommand {
  readonly name: string;
  readonly summary: string;
  /** its arguments, in the form of the help */
  readonly usage: string;
  readonly flags: readonly Flag[];
  /** syntax of its argument; empty if unknown */
  readonly syntax: string;
}

export const DAEMON: Command = {
  name: 'cloud-hypervisor',
  summary: 'virtual machine monitor with the Cloud Hypervisor API',
  flags: [...VM_FLAGS, ...VMM_FLAGS],
  subcommands: [],
};

export const REMOTE: Command = {
  name: 'ch-remote',
  summary: 'control a running virtual machine monitor',
  flags: REMOTE_FLAGS,
  subcommands: REMOTE_COMMANDS.map(toSubcommand),
};

function toSubcommand({ name, summary, usage, options, switches = {}, request }: RemoteCommand): Subcommand {
  return {
    name,
    summary,
    usage,
    flags: [
      ...options.map((option): Flag => ({ name: option, takes: 'one', doc: `Sets the ${option}` })),
      ...Object.entries(switches).map(([option, doc]): Flag => ({ name: option, takes: 'none', doc })),
    ],
    syntax: request.bodyFromFile === true ? '<path>' : syntaxOf(name),
  };
}

/** Returns the syntax of a sub-command: `add-disk` takes the same as `--disk`, `restore` as `--restore`. */
function syntaxOf(name: string): string {
  const flag = DAEMON.flags.find((one) => one.name === name.replace(/^add-/, ''));
  return flag?.syntax ?? '';
}
