import type { Command, Subcommand } from '../manual/commands.ts';
import { flagsOf } from './parse.ts';
import type { Verb } from './verb.ts';

/** `nephos` for its completion and its man page. */
export function nephosCommand(verbs: readonly Verb[]): Command {
  return {
    name: 'nephos',
    summary: 'run commands in virtual machines',
    flags: [
      { name: 'help', short: 'h', takes: 'none', doc: 'Show this help' },
      { name: 'version', short: 'V', takes: 'none', doc: 'Show the version' },
    ],
    subcommands: verbs.filter(({ isHidden }) => !isHidden).map(toSubcommand),
  };
}

function toSubcommand(verb: Verb): Subcommand {
  const { name, summary, usage, completes = '' } = verb;
  return { name, summary, usage, flags: flagsOf(verb), syntax: completes };
}
