import type { Client, ClientChannel, PseudoTtyOptions } from 'ssh2';
import { GuestError } from './errors.ts';
import type { GuestCommand, RenderCommand, TerminalSize } from './guest.ts';
import { renderForAnyShell, renderScript } from './render-command.ts';
import { createSlots, type Slots } from './slots.ts';

/** Longest text of an `exec` request, in bytes: dropbear accepts 9000. */
const TEXT_BYTES = 8000;

/** Sessions of a connection at the same time. OpenSSH's MaxSessions is 10, of which two are kept for signals and SFTP. */
const MAX_COMMANDS = 8;
/** dropbear has no bound but its descriptors, of which a session has four (FD_SETSIZE is 1024). */
const MAX_DROPBEAR_COMMANDS = 32;

/** An open SSH connection. */
export interface Connection {
  readonly client: Client;
  readonly slots: Slots;
  /** Reason of the end; undefined while the connection is open */
  readonly failure: () => GuestError | undefined;
  /** Settles with the reason of a failure. Never rejects */
  readonly closed: Promise<Error | undefined>;
  /** Ends the connection at once. The reason is that of `closed` and of all pending calls */
  readonly destroy: (reason?: GuestError) => void;
  /** Renders a command, with a command of the shell before it */
  readonly render: (command: GuestCommand, hasTerminal: boolean, first: string) => string;
  /** Renders a POSIX script of this program */
  readonly renderScript: (script: string) => string;
}

/** Returns the functions that render for a server: with a renderer of its own, its shell is a POSIX one. */
export function rendererOf(custom: RenderCommand | undefined): Pick<Connection, 'render' | 'renderScript'> {
  if (custom === undefined) {
    return { render: (command, _, first) => renderForAnyShell(command, `${first}; `), renderScript };
  }
  return {
    render: (command, hasTerminal, first) => `${first}; ${custom(command, hasTerminal)}`,
    renderScript: (script) => script,
  };
}

/** Returns the slots of a server, by its identification (RFC 4253, 4.2). */
export function slotsFor(identification: string, most: number | undefined): Slots {
  const isDropbear = /dropbear/i.test(identification);
  return createSlots(most ?? (isDropbear ? MAX_DROPBEAR_COMMANDS : MAX_COMMANDS));
}

/** A terminal of a session. */
export type Terminal = TerminalSize & { readonly term?: string };

/** Command of a session. */
export interface CommandRequest<T> {
  /** Text of the `exec` request, for the shell of the server */
  readonly text: string;
  readonly pty?: Terminal | undefined;
  /** Adds listeners to the channel at once: the server's next messages may be those of the command's end */
  readonly attach: (channel: ClientChannel) => T;
}

/** An open session, and the function that frees its slot. */
export interface Session<T> {
  readonly attached: T;
  readonly release: () => void;
}

/**
 * Opens a session for a command when there is a slot. A server that refuses it while it runs others has reached its own bound: the slots
 * are then fewer, and the command waits for one.
 */
export async function openSession<T>(
  connection: Connection,
  request: CommandRequest<T>,
  signal: AbortSignal,
): Promise<Session<T>> {
  for (;;) {
    const release = await connection.slots.take(signal);
    try {
      return { attached: await requestCommand(connection, request), release };
    } catch (error) {
      const mayRepeat = connection.failure() === undefined && connection.slots.shrink();
      release();
      if (!mayRepeat) throw error;
    }
  }
}

/** Sends the `exec` request of a command, and a text that is too long for it as the first bytes of its input. */
export function requestCommand<T>(connection: Connection, request: CommandRequest<T>): Promise<T> {
  const { text, pty, attach } = request;
  const length = Buffer.byteLength(text);
  if (length <= TEXT_BYTES) return openExec(connection, request);
  if (pty !== undefined) {
    throw new GuestError(
      'refused',
      `a command with a terminal has ${length} bytes, more than ${TEXT_BYTES}: copy it as a script into the guest`,
    );
  }
  return openExec(connection, {
    // dd reads single bytes, because the bytes behind the text are the command's input
    text: renderScript(`eval "$(dd ibs=1 count=${length} 2>/dev/null)"`),
    attach: (channel) => {
      channel.write(text);
      return attach(channel);
    },
  });
}

function openExec<T>(connection: Connection, { text, pty, attach }: CommandRequest<T>): Promise<T> {
  const { client } = connection;
  return new Promise((resolve, reject) => {
    const failed = connection.failure();
    if (failed !== undefined) return reject(failed);
    const options = pty === undefined ? {} : { pty: terminalOf(pty) };
    const take = (error: Error | undefined, channel: ClientChannel): void => {
      if (error === undefined) {
        channel.on('error', () => undefined);
        keepOpen(channel);
        return resolve(attach(channel));
      }
      reject(
        connection.failure() ??
          new GuestError('refused', `the SSH server refused a command: ${error.message}`, { cause: error }),
      );
    };
    try {
      client.exec(text, options, take);
    } catch (error) {
      reject(new GuestError('closed', 'the connection to the guest has ended', { cause: error }));
    }
  });
}

/**
 * Leaves CHANNEL_CLOSE to the server. Node destroys a stream after both its ends, and ssh2 then sends CHANNEL_CLOSE. dropbear answers one
 * before the command's exit without the exit status, or fails its assertion `!channel->sent_close`, which ends the connection.
 */
function keepOpen(channel: ClientChannel): void {
  channel.destroy = () => channel;
}

function terminalOf({ columns, rows, term = 'xterm-256color' }: Terminal): PseudoTtyOptions {
  return { cols: columns, rows, term, width: 0, height: 0 };
}
