import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { reasonOf } from '../util/errno.ts';
import type { Connection } from './connection.ts';
import { GuestError } from './errors.ts';
import type { ExecOptions, ExecResult, GuestCommand } from './guest.ts';
import { spawnProcess, type OwnedProcess } from './process.ts';

/** Default of {@link ExecOptions.maxOutputBytes}. */
const MAX_OUTPUT_BYTES = 64 * 2 ** 20;

/** Runs a command until it exits. @throws GuestError */
export async function execCommand(
  connection: Connection,
  argv: GuestCommand['argv'],
  options: ExecOptions,
): Promise<ExecResult> {
  const { input, onStdout, onStderr, maxOutputBytes = MAX_OUTPUT_BYTES, ...rest } = options;
  const command = await spawnProcess(connection, argv, rest);
  const limit = (name: string) => (): void =>
    command.end(new GuestError('output', `a command wrote more than ${maxOutputBytes} bytes to ${name}`));
  const stdout = collect(command.stdout, onStdout, maxOutputBytes, limit('stdout'));
  const stderr = collect(command.stderr, onStderr, maxOutputBytes, limit('stderr'));
  sendInput(command, input);
  const exit = await command.exited;
  return { ...exit, stdout: await stdout, stderr: await stderr };
}

/** Collects an output as text, or passes it on. Never rejects: `exited` does. */
function collect(
  stream: Readable,
  take: ((bytes: Buffer) => void) | undefined,
  most: number,
  exceed: () => void,
): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  stream.on('data', (bytes: Buffer) => {
    if (take !== undefined) return take(bytes);
    length += bytes.length;
    if (length <= most) parts.push(bytes);
    else exceed();
  });
  return new Promise((resolve) => {
    stream.once('close', () => resolve(Buffer.concat(parts).toString()));
  });
}

function sendInput(command: OwnedProcess, input: ExecOptions['input']): void {
  const { stdin } = command;
  if (input === undefined) return void stdin.end();
  if (!(input instanceof Readable)) return void stdin.end(input);
  const fail = (error: Error): void =>
    command.end(
      new GuestError('input', `the input of a command failed: ${reasonOf(error)}`, { cause: error }),
    );
  // a command may exit before it has read its input
  pipeline(input.once('error', fail), stdin).catch(() => undefined);
}
