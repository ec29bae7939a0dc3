import { parseArgs } from 'node:util';

import { didYouMean, nearest } from '../util/nearest.ts';
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
  /** its options without a value that were given */
  readonly switches: readonly string[];
  /** its options that have no effect */
  readonly ignored: readonly string[];
}

/**
 * Parses `--api-socket PATH <command> [args]`. Options may also follow the command.
 * @throws UsageError
 */
export function parseRemoteArguments(
  argv: readonly string[],
): RemoteCall | { readonly kind: 'help' | 'version' } {
  const own = REMOTE_COMMANDS.flatMap(({ options }) => options);
  const switches = REMOTE_COMMANDS.flatMap(({ switches: own = {}, ignored = [] }) => [
    ...Object.keys(own),
    ...ignored,
  ]);
  const { values, positionals, tokens } = parseArgs({
    args: [...argv],
    options: {
      ...Object.fromEntries(own.map((name) => [name, { type: 'string' as const }])),
      ...Object.fromEntries(switches.map((name) => [name, { type: 'boolean' as const }])),
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
  const command = REMOTE_COMMANDS.find((row) => row.name === name);
  checkFlags(argv, tokens, command, name === undefined ? [] : [...own, ...switches]);
  // after the flags: the value of a mistyped flag is parsed as the sub-command
  if (name !== undefined && command === undefined) throw unrecognized(name);
  checkSurplus(command, args[command?.takes ?? 0]);
  if (command === undefined) throw new UsageError('A sub-command is required');
  const options = optionsOf(command, new Map(Object.entries(values)));
  checkMissing(command, args, options);
  const isGiven = (one: string): boolean => values[one] !== undefined;
  return {
    kind: 'call',
    socketPath: socketPathOf(values['api-socket']),
    command,
    args,
    options,
    switches: Object.keys(command.switches ?? {}).filter(isGiven),
    ignored: (command.ignored ?? []).filter(isGiven),
  };
}

type Token = NonNullable<ReturnType<typeof parseArgs>['tokens']>[number];

/** Checks the flags. `others` are the flags that are accepted if the command is unknown. */
function checkFlags(
  argv: readonly string[],
  tokens: readonly Token[],
  command: RemoteCommand | undefined,
  others: readonly string[],
): void {
  const { options = others, switches = {}, ignored = [] } = command ?? {};
  const takes = ['api-socket', ...options, ...Object.keys(switches), ...ignored];
  const flag = tokens.filter((token) => token.kind === 'option').find((token) => !takes.includes(token.name));
  if (flag !== undefined) throw unexpected(argv[flag.index] ?? '', suggestOption(flag.name, takes, command));
  checkSwitches(tokens, [...Object.keys(switches), ...ignored]);
}

/** Rejects a value of an option that takes none: `--live=false` would be taken for `--live`. */
export function checkSwitches(tokens: readonly Token[], switches: readonly string[]): void {
  const wrong = tokens.find(
    (token) => token.kind === 'option' && switches.includes(token.name) && token.value !== undefined,
  );
  if (wrong?.kind === 'option') throw new UsageError(`The option --${wrong.name} takes no value`);
}

function checkSurplus(command: RemoteCommand | undefined, word: string | undefined): void {
  if (word === undefined) return;
  throw unexpected(word, usageHint(command));
}

/** Returns a hint with the intended option, else with the usage of the command. */
function suggestOption(
  name: string,
  takes: readonly string[],
  command: RemoteCommand | undefined,
): string | undefined {
  const intended = nearest(name, [...takes, 'help', 'version']);
  return didYouMean(intended === undefined ? undefined : `--${intended}`) ?? usageHint(command);
}

function usageHint(command: RemoteCommand | undefined): string | undefined {
  return command === undefined || command.usage === ''
    ? undefined
    : `expected ${command.name} ${command.usage}`;
}

/** Checks for required arguments: those that are not in brackets in the usage (`<id>`, `--id ID --size SIZE`). */
function checkMissing(
  { usage, takes, options }: RemoteCommand,
  args: readonly string[],
  given: RemoteCall['options'],
): void {
  const [argument] = /<[^>]+>/.exec(usage) ?? [];
  if (takes === 1 && argument !== undefined && args.length === 0) throw missing(argument);
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

/** Returns the value of an option; an option at the end of the line has none. */
function textOf(option: string, value: unknown): string {
  if (typeof value !== 'string') throw new UsageError(`The option --${option} needs a value`);
  return value;
}

function unrecognized(name: string): UsageError {
  return new UsageError(`The subcommand '${name}' wasn't recognized`, didYouMean(suggestCommand(name)));
}

/** Names of sub-commands in other programs, with the name here. */
const COMMAND_HINTS: Readonly<Record<string, string>> = {
  status: 'info',
  show: 'info',
  start: 'boot',
  stop: 'shutdown',
  poweroff: 'power-button',
  quit: 'shutdown-vmm',
  exit: 'shutdown-vmm',
  reset: 'reboot',
  restart: 'reboot',
  suspend: 'pause',
  continue: 'resume',
  'remove-disk': 'remove-device',
  'remove-net': 'remove-device',
  migrate: 'send-migration',
};

function suggestCommand(name: string): string | undefined {
  const typed = name.replaceAll('_', '-').replace(/^vmm?\./, '');
  const known = REMOTE_COMMANDS.map((command) => command.name);
  const intended = nearest(typed, [...known, ...Object.keys(COMMAND_HINTS)]) ?? '';
  if (intended === '' || known.includes(intended)) return intended || undefined;
  return COMMAND_HINTS[intended];
}

function socketPathOf(values: readonly (string | boolean)[] = []): string {
  const [path, second] = values;
  if (path === undefined) throw new UsageError('The option --api-socket <path> is required');
  if (second !== undefined) throw new UsageError('The option --api-socket was given more than once');
  if (typeof path === 'boolean' || path === '') throw new UsageError('The option --api-socket needs a path');
  return path;
}

function unexpected(word: string, hint: string | undefined): UsageError {
  return new UsageError(
    `Found argument '${word}' which wasn't expected, or isn't valid in this context`,
    hint,
  );
}
