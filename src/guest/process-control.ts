import { setTimeout as delay } from 'node:timers/promises';
import type { ClientChannel } from 'ssh2';
import { preview } from '../util/clip.ts';
import { deferred } from '../util/deferred.ts';
import { reasonOf } from '../util/errno.ts';
import { UNCHANGED, type OutputFilter } from './channel-streams.ts';
import type { Connection } from './connection.ts';
import { runControl } from './control.ts';
import { endScript, signalScript } from './end-script.ts';
import { GuestError } from './errors.ts';
import type { GuestCommand, RenderCommand } from './guest.ts';
import { renderForAnyShell } from './render-command.ts';
import { createStartMark } from './start-mark.ts';

/** Time between SIGTERM and SIGKILL, in milliseconds. */
const GRACE_MS = 2000;

/** A session of a command. */
export interface CommandChannel {
  readonly channel: ClientChannel;
  /** Settles when the server has closed the channel */
  readonly closed: Promise<void>;
}

/** The control of one command: its text, and signals to its processes. */
export interface ProcessControl {
  readonly text: string;
  readonly output: OutputFilter;
  /** Input that lets the command begin, before its own */
  readonly start?: string;
  /** Sends a signal to the process group, e.g. `TERM` */
  readonly signal: (command: CommandChannel, name: string) => Promise<void>;
  /** Ends all processes: SIGTERM, then SIGKILL */
  readonly end: (command: CommandChannel) => Promise<void>;
}

/**
 * Returns the control of a command. A caller with a renderer has a server whose `signal` requests (RFC 4254, 6.9) reach the process group.
 * Other servers, e.g. dropbear, signal one process or none: the shell writes its process id, and a further command sends the signals.
 */
export function controlOf(
  connection: Connection,
  command: GuestCommand,
  hasTerminal: boolean,
): ProcessControl {
  const { render } = connection;
  return render === undefined
    ? controlByCommands(connection, command, hasTerminal)
    : controlByRequests(connection, render, command, hasTerminal);
}

/**
 * Begins a command without a terminal after a line of input. Where dropbear before 2024 closes a new session because another command ends, it
 * starts the command nevertheless, and its first output fails the assertion `!channel->sent_close`, which ends the connection.
 */
const WAIT_FOR_START = 'read -r go || exit 125; ';

function controlByCommands(
  connection: Connection,
  command: GuestCommand,
  hasTerminal: boolean,
): ProcessControl {
  const pid = deferred<number | undefined>();
  const mark = createStartMark(pid.resolve);
  return {
    text: renderForAnyShell(command, `${hasTerminal ? '' : WAIT_FOR_START}${mark.command}; `),
    ...(!hasTerminal && { start: '\n' }),
    output: mark,
    signal: async (_, name) => {
      const id = await pid.promise;
      if (id !== undefined) await runControl(connection, signalScript(id, name));
    },
    end: async ({ channel }) => {
      const id = await pid.promise;
      if (id !== undefined) await runControl(connection, endScript(id));
      // a process with a session of its own may hold the outputs open
      channel.close();
    },
  };
}

function controlByRequests(
  connection: Connection,
  render: RenderCommand,
  command: GuestCommand,
  hasTerminal: boolean,
): ProcessControl {
  const signal = (channel: ClientChannel, name: string): void => sendSignal(connection, channel, name);
  return {
    text: render(command, hasTerminal),
    output: UNCHANGED,
    signal: ({ channel }, name) => Promise.resolve(signal(channel, name)),
    end: async ({ channel, closed }) => {
      signal(channel, 'TERM');
      if (await settlesWithin(closed, GRACE_MS)) return;
      signal(channel, 'KILL');
      if (!(await settlesWithin(closed, GRACE_MS))) channel.close();
    },
  };
}

/** Sends a `signal` request. ssh2 sends none after the end of the input. A closed channel has no process any more. */
function sendSignal({ client }: Connection, channel: ClientChannel, name: string): void {
  const protocol: unknown = Reflect.get(client, '_protocol');
  const outgoing: unknown = Reflect.get(channel, 'outgoing');
  if (!isProtocol(protocol) || !isOutgoing(outgoing)) throw new TypeError('ssh2 has no function for signals');
  if (outgoing.state !== 'open' && outgoing.state !== 'eof') return;
  try {
    protocol.signal(outgoing.id, name);
  } catch (error) {
    throw new GuestError('refused', `SSH has no signal ${preview(name)}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

function isProtocol(value: unknown): value is { signal: (channel: number, name: string) => void } {
  return (
    typeof value === 'object' && value !== null && 'signal' in value && typeof value.signal === 'function'
  );
}

function isOutgoing(value: unknown): value is { readonly id: number; readonly state: string } {
  return typeof value === 'object' && value !== null && 'id' in value && typeof value.id === 'number';
}

async function settlesWithin(work: Promise<void>, milliseconds: number): Promise<boolean> {
  const timer = new AbortController();
  const late = delay(milliseconds, false, { signal: timer.signal }).catch(() => false);
  const isSettled = await Promise.race([work.then(() => true), late]);
  timer.abort();
  return isSettled;
}
