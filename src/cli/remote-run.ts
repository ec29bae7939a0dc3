import { createReadStream } from 'node:fs';

import { MAX_BODY_BYTES } from '../http/body.ts';
import { readAtMost } from '../util/read-at-most.ts';
import { USAGE_EXIT, UsageError } from './flags.ts';
import { osText } from './os-text.ts';
import { parseRemoteArguments } from './remote-arguments.ts';
import type { RemoteCall } from './remote-arguments.ts';
import { CommandError } from './remote-bodies.ts';
import { callRemote, openRemote, type RemoteAnswer, type RemoteRequest } from './remote-connection.ts';
import { takeDescriptors } from './remote-descriptors.ts';
import { remoteHelp } from './remote-commands.ts';
import type { WriteText } from './remote-events.ts';
import { statusName } from './status-name.ts';
import { DIALECT_VERSION } from './version.ts';

/** Version in the form of `cloud-hypervisor --version`. */
const VERSION = `ch-remote v${DIALECT_VERSION}`;

/** Maximum number of bytes that are read of a body: one more than the server accepts, so that it answers 413. */
export const BODY_READ_MAX = MAX_BODY_BYTES + 1;

/** Result of a run: text for both outputs and the exit code. */
export interface RemoteResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: 0 | 1 | typeof USAGE_EXIT;
}

/**
 * Runs a `ch-remote` command line. Calls `stdin` only for a command whose body is on standard input, and `write` only for one whose output
 * comes in parts.
 */
export async function runRemote(
  argv: readonly string[],
  stdin: () => Promise<Buffer>,
  write: WriteText = () => Promise.resolve(false),
): Promise<RemoteResult> {
  const warnings: string[] = [];
  try {
    // before the commands of the API: it has the name of one of them
    if (argv.includes('compose')) {
      const { parseCompose, runCompose } = await import('./remote-compose.ts');
      const call = parseCompose(argv);
      if (call !== undefined) {
        await runCompose(call);
        return success('');
      }
    }
    const action = parseRemoteArguments(argv);
    if (action.kind !== 'call') return success(action.kind === 'help' ? remoteHelp(VERSION) : `${VERSION}\n`);
    if (action.command.request.isStream === true) {
      const { printEvents } = await import('./remote-events.ts');
      await printEvents(action, write);
      return success('');
    }
    if (action.command.request.isTerminal === true) {
      const { attachTerminal } = await import('./remote-console.ts');
      await attachTerminal(action);
      return success('');
    }
    const stdout = outputOf(await send(action, { stdin, warn: (text) => void warnings.push(text) }));
    return { ...success(stdout), stderr: warningLines(warnings) };
  } catch (error) {
    if (error instanceof UsageError) {
      const stderr = `error: ${error.message}\n${hintLine(error)}\nFor more information try --help\n`;
      return { stdout: '', stderr, code: USAGE_EXIT };
    }
    if (error instanceof CommandError) {
      const stderr = `${warningLines(warnings)}Error running command: ${error.message}\n${hintLine(error)}`;
      return { stdout: '', stderr, code: 1 };
    }
    throw error;
  }
}

function warningLines(warnings: readonly string[]): string {
  return warnings.map((text) => `warning: ${text}\n`).join('');
}

/** Input and warnings of a call. */
interface CallContext {
  readonly stdin: () => Promise<Buffer>;
  readonly warn: (text: string) => void;
}

/** Sends a call. Connects first, so that a missing server is reported before an error in the arguments. */
async function send(call: RemoteCall, context: CallContext): Promise<RemoteAnswer> {
  const { method, endpoint } = call.command.request;
  const socket = await openRemote(call.socketPath);
  try {
    const { body, fds } = await bodyOf(call, context);
    return await callRemote(socket, { method, endpoint, body, fds });
  } finally {
    socket.destroy();
  }
}

async function bodyOf(
  { command, args, options, switches, ignored }: RemoteCall,
  { stdin, warn }: CallContext,
): Promise<Pick<RemoteRequest, 'body' | 'fds'>> {
  const { request } = command;
  for (const name of ignored) warn(`--${name} is ignored`);
  if (request.bodyFromFile === true) return { body: await readBody(args[0] ?? '-', stdin), fds: [] };
  const json = request.body?.({ argument: args[0] ?? '', options, switches, warn });
  if (json === undefined) return { body: undefined, fds: [] };
  const { body, fds } = takeDescriptors(json);
  return { body: Buffer.from(JSON.stringify(body)), fds };
}

async function readBody(path: string, stdin: () => Promise<Buffer>): Promise<Buffer> {
  try {
    return await (path === '-' ? stdin() : readAtMost(createReadStream(path), BODY_READ_MAX));
  } catch (error) {
    throw new CommandError(
      `Error reading ${path === '-' ? 'from stdin' : path}: ${osText(error)}`,
      undefined,
      { cause: error },
    );
  }
}

function outputOf({ status, body }: RemoteAnswer): string {
  const text = readable(body ?? '');
  if ([100, 200, 204].includes(status)) return text === '' ? '' : `${text}\n`;
  const detail = body === undefined ? '' : `: ${text}`;
  throw new CommandError(`Server responded with an error: ${statusName(status)}${detail}`);
}

/** Replaces escapes in JSON by the characters beyond ASCII; the server escapes them. */
function readable(json: string): string {
  return json.replaceAll(/(?:\\u[\da-f]{4})+|\\./g, (escaped) =>
    /^\\u(?!00[0-7])/.test(escaped) ? String(JSON.parse(`"${escaped}"`)) : escaped,
  );
}

function success(stdout: string): RemoteResult {
  return { stdout, stderr: '', code: 0 };
}

function hintLine({ hint }: UsageError | CommandError): string {
  return hint === undefined ? '' : `  ${hint}\n`;
}
