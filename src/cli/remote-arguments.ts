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
}

/**
 * Understands `--api-socket PATH <command> [args]`; options may also follow the command.
 * @throws UsageError
 */
export function parseRemoteArguments(
  argv: readonly string[],
): RemoteCall | { readonly kind: 'help' | 'version' } {
  const { values, positionals, tokens } = parseArgs({
    args: [...argv],
    options: {
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
  const flag = tokens.find((token) => token.kind === 'option' && token.name !== 'api-socket');
  const command = findCommand(name);
  // What an unsupported command will take is its own matter.
  if (command === undefined || command.request !== undefined) {
    const most = command?.request?.bodyFromFile === true ? 1 : 0;
    const surplus = flag === undefined ? args[most] : argv[flag.index];
    if (surplus !== undefined) throw unexpected(surplus);
  }
  if (command === undefined) throw new UsageError('A sub-command is required');
  return { kind: 'call', socketPath: socketPathOf(values['api-socket']), command, args };
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
