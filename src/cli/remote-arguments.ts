import { parseArgs } from 'node:util';

import { UsageError } from './flags.ts';
import { REMOTE_COMMANDS } from './remote-commands.ts';
import type { RemoteCommand } from './remote-commands.ts';

/** A call of the API. */
export interface RemoteCall {
  readonly kind: 'call';
  readonly socketPath: string;
  readonly command: RemoteCommand;
  readonly args: readonly string[];
  /** the command's own options */
  readonly options: ReadonlyMap<string, string>;
}

/**
 * Understands `--api-socket PATH <command> [args]`; options may also follow the command.
 * @throws UsageError
 */
export function parseRemoteArguments(
  argv: readonly string[],
): RemoteCall | { readonly kind: 'help' | 'version' } {
  const own = REMOTE_COMMANDS.flatMap(({ options }) => options);
  const { values, positionals, tokens } = parseArgs({
    args: [...argv],
    options: {
      ...Object.fromEntries(own.map((name) => [name, { type: 'string' as const }])),
      'api-socket': { type: 'string', multiple: true },
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean', short: 'V' },
    },
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const [name, ...args] = positionals;
  if (values.help === true || name === 'help') return { kind: 'help' };
  if (values.version === true) return { kind: 'version' };
  const command = findCommand(name);
  const takes = ['api-socket', ...(command?.options ?? [])];
  const flag = tokens.find((token) => token.kind === 'option' && !takes.includes(token.name));
  checkSurplus(command, flag === undefined ? args[command?.takes ?? 0] : argv[flag.index]);
  if (command === undefined) throw new UsageError('A sub-command is required');
  const options = optionsOf(command, new Map(Object.entries(values)));
  checkMissing(command, args, options);
  return { kind: 'call', socketPath: socketPathOf(values['api-socket']), command, args, options };
}

function checkSurplus(command: RemoteCommand | undefined, word: string | undefined): void {
  // what an unsupported command will take is its own matter
  const isChecked = command === undefined || command.request !== undefined;
  if (isChecked && word !== undefined) throw unexpected(word);
}

/** What must be there is not in brackets in the usage: `<id>`, `--id ID --size SIZE`. */
function checkMissing(
  { usage, takes, options }: RemoteCommand,
  args: readonly string[],
  given: RemoteCall['options'],
): void {
  if (takes === 1 && usage.startsWith('<') && args.length === 0) throw missing(usage);
  const absent = options.find((name) => !usage.includes(`[--${name} `) && !given.has(name));
  if (absent !== undefined) throw missing(`<--${absent}>`);
}

function missing(what: string): UsageError {
  return new UsageError(`The argument ${what} is required`);
}

function optionsOf(command: RemoteCommand, values: ReadonlyMap<string, unknown>): RemoteCall['options'] {
  const given = command.options.filter((name) => values.has(name));
  return new Map(given.map((name) => [name, textOf(name, values.get(name))]));
}

/** An option at the end of the line has no value. */
function textOf(option: string, value: unknown): string {
  if (typeof value !== 'string') throw new UsageError(`The option --${option} needs a value`);
  return value;
}

function findCommand(name: string | undefined): RemoteCommand | undefined {
  const command = REMOTE_COMMANDS.find((row) => row.name === name);
  if (name !== undefined && command === undefined) {
    throw new UsageError(`The subcommand '${name}' wasn't recognized`);
  }
  return command;
}

function socketPathOf(values: readonly (string | boolean)[] = []): string {
  const [path, second] = values;
  if (path === undefined) throw new UsageError('The option --api-socket <path> is required');
  if (second !== undefined) throw new UsageError('The option --api-socket was given more than once');
  if (typeof path === 'boolean' || path === '') throw new UsageError('The option --api-socket needs a path');
  return path;
}

function unexpected(word: string): UsageError {
  return new UsageError(`Found argument '${word}' which wasn't expected, or isn't valid in this context`);
}
