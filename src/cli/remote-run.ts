import { createReadStream } from 'node:fs';
import { STATUS_CODES } from 'node:http';

import { MAX_BODY_BYTES } from '../http/body.ts';
import { readAtMost } from '../util/read-at-most.ts';
import { UsageError } from './flags.ts';
import { osText } from './os-text.ts';
import { parseRemoteArguments } from './remote-arguments.ts';
import type { RemoteCall } from './remote-arguments.ts';
import { CommandError } from './remote-bodies.ts';
import { callRemote, openRemote, type RemoteAnswer, type RemoteRequest } from './remote-connection.ts';
import { takeDescriptors } from './remote-descriptors.ts';
import { remoteHelp } from './remote-commands.ts';
import { OWN_VERSION } from './version.ts';

const VERSION = `ch-remote ${OWN_VERSION}`;

/** How much of a body is read, in bytes: of one that is too large enough for the server to say so. */
export const BODY_READ_MAX = MAX_BODY_BYTES + 1;

/** What a run leaves: text for both outputs and the exit code. */
export interface RemoteResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: 0 | 1;
}

/** Does what a `ch-remote` command line says. `stdin` is read only by a command that takes its body from there. */
export async function runRemote(
  argv: readonly string[],
  stdin: () => Promise<Buffer>,
): Promise<RemoteResult> {
  try {
    const action = parseRemoteArguments(argv);
    if (action.kind === 'call') return success(outputOf(await send(action, stdin)));
    return success(action.kind === 'help' ? remoteHelp(VERSION) : `${VERSION}\n`);
  } catch (error) {
    if (error instanceof UsageError) {
      return failure(`error: ${error.message}\n${hintLine(error)}\nFor more information try --help\n`);
    }
    if (error instanceof CommandError) {
      return failure(`Error running command: ${error.message}\n${hintLine(error)}`);
    }
    throw error;
  }
}

/** Connects first: a server that is not there is told before anything that is wrong with the words. */
async function send(call: RemoteCall, stdin: () => Promise<Buffer>): Promise<RemoteAnswer> {
  const { method, endpoint } = call.command.request;
  const socket = await openRemote(call.socketPath);
  try {
    const { body, fds } = await bodyOf(call, stdin);
    return await callRemote(socket, { method, endpoint, body, fds });
  } finally {
    socket.destroy();
  }
}

async function bodyOf(
  { command, args, options }: RemoteCall,
  stdin: () => Promise<Buffer>,
): Promise<Pick<RemoteRequest, 'body' | 'fds'>> {
  const { request } = command;
  if (request.bodyFromFile === true) return { body: await readBody(args[0] ?? '-', stdin), fds: [] };
  const json = request.body?.({ argument: args[0] ?? '', options });
  if (json === undefined) return { body: undefined, fds: [] };
  const { body, fds } = takeDescriptors(json);
  return { body: Buffer.from(JSON.stringify(body)), fds };
}

async function readBody(path: string, stdin: () => Promise<Buffer>): Promise<Buffer> {
  try {
    return await (path === '-' ? stdin() : readAtMost(createReadStream(path), BODY_READ_MAX));
  } catch (error) {
    throw new CommandError(`Error reading ${path === '-' ? 'from stdin' : path}: ${osText(error)}`);
  }
}

function outputOf({ status, body }: RemoteAnswer): string {
  const text = readable(body ?? '');
  if ([100, 200, 204].includes(status)) return text === '' ? '' : `${text}\n`;
  const detail = body === undefined ? '' : `: ${text}`;
  throw new CommandError(`Server responded with an error: ${kindOf(status)}${detail}`);
}

/** JSON in which characters beyond ASCII are themselves, as people read it: the server escapes them. */
function readable(json: string): string {
  return json.replaceAll(/(?:\\u[\da-f]{4})+|\\./g, (escaped) =>
    /^\\u(?!00[0-7])/.test(escaped) ? String(JSON.parse(`"${escaped}"`)) : escaped,
  );
}

/** `MethodNotAllowed` for 405; Cloud Hypervisor's ch-remote names 400, 404, 500 and 501 so, and calls all others unknown. */
function kindOf(status: number): string {
  return STATUS_CODES[status]?.replaceAll(/[^A-Za-z]/g, '') ?? 'Unknown';
}

function success(stdout: string): RemoteResult {
  return { stdout, stderr: '', code: 0 };
}

function hintLine({ hint }: UsageError | CommandError): string {
  return hint === undefined ? '' : `  ${hint}\n`;
}

function failure(stderr: string): RemoteResult {
  return { stdout: '', stderr, code: 1 };
}
