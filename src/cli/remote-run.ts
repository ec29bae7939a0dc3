import { readFile } from 'node:fs/promises';
import { getSystemErrorMap } from 'node:util';

import { TransportError, sendRequest } from '../sdk/transport.ts';
import type { ApiResponse } from '../sdk/transport.ts';
import { UsageError } from './flags.ts';
import { parseRemoteArguments } from './remote-arguments.ts';
import type { RemoteCall } from './remote-arguments.ts';
import { CommandError } from './remote-bodies.ts';
import { remoteHelp } from './remote-commands.ts';
import { OWN_VERSION } from './version.ts';

const VERSION = `ch-remote ${OWN_VERSION}`;

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
      return failure(`error: ${error.message}\n\nFor more information try --help\n`);
    }
    if (error instanceof CommandError) return failure(`Error running command: ${error.message}\n`);
    throw error;
  }
}

async function send(call: RemoteCall, stdin: () => Promise<Buffer>): Promise<ApiResponse> {
  const { request } = call.command;
  const body = await bodyOf(call, stdin);
  try {
    return await sendRequest({
      socketPath: call.socketPath,
      method: request.method,
      path: `/api/v1/${request.endpoint}`,
      ...(body !== undefined && { body }),
    });
  } catch (error) {
    throw error instanceof TransportError ? new CommandError(transportText(error)) : error;
  }
}

async function bodyOf(
  { command, args, options }: RemoteCall,
  stdin: () => Promise<Buffer>,
): Promise<Buffer | undefined> {
  const { request } = command;
  if (request.bodyFromFile === true) return readBody(args[0] ?? '-', stdin);
  const json = request.body?.({ argument: args[0], options });
  return json === undefined ? undefined : Buffer.from(JSON.stringify(json));
}

async function readBody(path: string, stdin: () => Promise<Buffer>): Promise<Buffer> {
  try {
    return await (path === '-' ? stdin() : readFile(path));
  } catch (error) {
    throw new CommandError(`Error reading ${path === '-' ? 'from stdin' : path}: ${osText(error)}`);
  }
}

function outputOf({ status, body }: ApiResponse): string {
  const text = readable(body ?? '');
  if (status === 200 || status === 204) return text === '' ? '' : `${text}\n`;
  const detail = body === undefined ? '' : `: ${text}`;
  throw new CommandError(`Server responded with an error: ${kindOf(status)}${detail}`);
}

/** JSON in which characters beyond ASCII are themselves, as people read it: the server escapes them. */
function readable(json: string): string {
  return json.replaceAll(/(?:\\u[\da-f]{4})+|\\./g, (escaped) =>
    /^\\u(?!00[0-7])/.test(escaped) ? String(JSON.parse(`"${escaped}"`)) : escaped,
  );
}

/** The original knows these by name and nothing else. */
function kindOf(status: number): string {
  switch (status) {
    case 400:
      return 'BadRequest';
    case 404:
      return 'NotFound';
    case 500:
      return 'InternalServerError';
    case 501:
      return 'NotImplemented';
    default:
      return 'Unknown';
  }
}

function transportText(error: TransportError): string {
  if (error.fault === 'connect') return `Error opening HTTP socket: ${osText(error.cause)}`;
  if (error.fault === 'protocol') return 'HTTP output is missing protocol statement';
  return `Error writing to or reading from HTTP socket: ${osText(error.cause)}`;
}

/** An error of the operating system in the original's words: `No such file or directory (os error 2)`. */
function osText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error ? error.code : undefined;
  for (const [errno, [name, message]] of getSystemErrorMap()) {
    if (name === code) return `${message.charAt(0).toUpperCase()}${message.slice(1)} (os error ${-errno})`;
  }
  return error.message;
}

function success(stdout: string): RemoteResult {
  return { stdout, stderr: '', code: 0 };
}

function failure(stderr: string): RemoteResult {
  return { stdout: '', stderr, code: 1 };
}
