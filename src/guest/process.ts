import type { ClientChannel } from 'ssh2';
import { preview } from '../util/clip.ts';
import { deferred } from '../util/deferred.ts';
import { openStreams } from './channel-streams.ts';
import { openSession, type CommandRequest, type Connection, type Session } from './connection.ts';
import { endWithin } from './control.ts';
import { GuestError } from './errors.ts';
import type { GuestCommand, GuestExit, GuestProcess, SpawnOptions } from './guest.ts';
import { startLimit, type Limit } from './limit.ts';
import { controlOf, type ProcessControl } from './process-control.ts';
import { wordsOf } from './render-command.ts';

/** Time limit for the end of a command in the guest after an abort, in milliseconds. An emulated guest on a busy host is slow. */
const END_MS = 30_000;

/** A process, and the function that ends it for another reason than its options. */
export interface OwnedProcess extends GuestProcess {
  /** Ends the command; `exited` then rejects with the reason */
  readonly end: (reason: GuestError) => void;
}

/** Starts a command. @throws GuestError */
export async function spawnProcess(
  connection: Connection,
  argv: GuestCommand['argv'],
  options: SpawnOptions,
): Promise<OwnedProcess> {
  const { pty, signal, timeoutMs, ...rest } = options;
  const name = `command ${preview(wordsOf(argv).join(' '))}`;
  const control = controlOf(connection, { argv, ...rest }, pty !== undefined);
  const limit = startLimit(name, {
    ...(signal !== undefined && { signal }),
    ...(timeoutMs !== undefined && { timeoutMs }),
  });
  const attach = (channel: ClientChannel): OwnedProcess => {
    if (control.start !== undefined) channel.write(control.start);
    return superviseProcess(channel, { name, connection, limit, control });
  };
  try {
    limit.check();
    const request = { text: control.text, pty, attach };
    const { attached, release } = await openWithin(connection, request, limit.signal);
    attached.exited.finally(release).catch(() => undefined);
    return attached;
  } catch (error) {
    limit[Symbol.dispose]();
    throw error;
  }
}

/** Opens the session. A server that does not answer after an abort loses the connection, because the command may run. */
async function openWithin<T>(
  connection: Connection,
  request: CommandRequest<T>,
  signal: AbortSignal,
): Promise<Session<T>> {
  const opened = openSession(connection, request, signal);
  const watch = (): void => void endWithin(connection, END_MS, opened).catch(() => undefined);
  signal.addEventListener('abort', watch, { once: true });
  try {
    return await opened;
  } finally {
    signal.removeEventListener('abort', watch);
  }
}

interface RunningCommand {
  readonly name: string;
  readonly connection: Connection;
  readonly limit: Limit;
  readonly control: ProcessControl;
}

function superviseProcess(channel: ClientChannel, running: RunningCommand): OwnedProcess {
  const { connection, limit, control } = running;
  const ended = deferred<never>();
  let reason: GuestError | undefined;
  let isOver = false;
  let exit: GuestExit | undefined;
  channel.on('exit', (exitCode: number | null, signal?: string) => {
    exit = { exitCode, signal: signal?.replace(/^SIG/, '') ?? null };
  });
  const lost = (): GuestError | undefined => reason ?? connection.failure();
  const { closed, ...streams } = openStreams(channel, lost, control.output);
  const command = { channel, closed };
  const end = (cause: GuestError): void => {
    if (reason !== undefined || isOver) return;
    reason = cause;
    endWithin(connection, END_MS, control.end(command))
      .finally(() => ended.reject(cause))
      .catch(() => undefined);
  };
  const onLimit = (): void => end(limitReason(limit));
  const complete = closed.then(() => (reason === undefined ? exitOf(running, exit) : ended.promise));
  const exited = Promise.race([complete, ended.promise]).finally(() => {
    isOver = true;
    limit.signal.removeEventListener('abort', onLimit);
    limit[Symbol.dispose]();
  });
  // a caller that uses the streams alone ignores it
  exited.catch(() => undefined);
  limit.signal.addEventListener('abort', onLimit, { once: true });
  if (limit.signal.aborted) onLimit();
  return {
    ...streams,
    exited,
    end,
    kill: async (signal = 'TERM') => {
      const name = signalName(signal);
      if (!isOver) await control.signal(command, name);
    },
    resize: ({ columns, rows }) => channel.setWindow(rows, columns, 0, 0),
  };
}

function limitReason({ signal }: Limit): GuestError {
  const reason: unknown = signal.reason;
  return reason instanceof GuestError ? reason : new GuestError('aborted', 'aborted', { cause: reason });
}

function exitOf({ name, connection }: RunningCommand, exit: GuestExit | undefined): GuestExit {
  if (exit !== undefined) return exit;
  const failed = connection.failure();
  if (failed !== undefined) throw failed;
  throw new GuestError('no-exit', `${name}: the SSH server reported neither an exit code nor a signal`);
}

function signalName(signal: string): string {
  const name = signal.replace(/^SIG/, '');
  if (!/^([A-Z][A-Z0-9]*|[1-9]\d?)$/.test(name))
    throw new GuestError('refused', `${preview(signal)} is no signal, e.g. TERM`);
  return name;
}
