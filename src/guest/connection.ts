import type { Client, ClientChannel, PseudoTtyOptions } from 'ssh2';
import { reasonOf } from '../util/errno.ts';
import { GuestError } from './errors.ts';
import type { RenderCommand, TerminalSize } from './guest.ts';
import { renderScript } from './render-command.ts';
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
  /** Returns whether a refused session is to be repeated, and adapts the slots */
  readonly mayRepeat: () => boolean;
  /** Runs the opening of a session alone, where the server needs it */
  readonly alone: <T>(open: () => Promise<T>) => Promise<T>;
  /** Reason of the end; undefined while the connection is open */
  readonly failure: () => GuestError | undefined;
  /** Settles with the reason of a failure. Never rejects */
  readonly closed: Promise<Error | undefined>;
  /** Ends the connection at once. The reason is that of `closed` and of all pending calls */
  readonly destroy: (reason?: GuestError) => void;
  /** Renderer of the caller; without it commands are rendered for any shell */
  readonly render: RenderCommand | undefined;
  /** SFTP server: the subsystem, or a command */
  readonly sftp: { readonly text: string; readonly subsystem: boolean };
}

/** Returns the rules of a server's sessions, by its identification (RFC 4253, 4.2). */
export function sessionRules(
  identification: string,
  most: number | undefined,
): Pick<Connection, 'slots' | 'mayRepeat' | 'alone'> {
  const isDropbear = /dropbear/i.test(identification);
  const slots = createSlots(most ?? (isDropbear ? MAX_DROPBEAR_COMMANDS : MAX_COMMANDS));
  if (!isDropbear) return { slots, mayRepeat: slots.shrink, alone: (open) => open() };
  return { slots, mayRepeat: () => true, alone: createTurns() };
}

/** Returns a function that runs one task at a time, in order. */
function createTurns(): <T>(task: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (task) => {
    const next = last.then(task);
    last = next.catch(() => undefined);
    return next;
  };
}

/** A terminal of a session. */
export type Terminal = TerminalSize & { readonly term?: string };

/** Command of a session. */
export interface CommandRequest<T> {
  /** Text of the `exec` request, for the shell of the server, or the name of a subsystem */
  readonly text: string;
  readonly subsystem?: boolean;
  readonly pty?: Terminal | undefined;
  /** Adds listeners to the channel at once: the server's next messages may be those of the command's end */
  readonly attach: (channel: ClientChannel) => T;
}

/** An open session, and the function that frees its slot. */
export interface Session<T> {
  readonly attached: T;
  readonly release: () => void;
}

/** Attempts of a session that a server refuses while it runs others. */
const ATTEMPTS = 20;

/**
 * Opens a session for a command when there is a slot. A server refuses it while it runs others where it has reached its own bound (OpenSSH,
 * MaxSessions): the command then waits for the end of another one. dropbear before 2024 refuses it where another command ends between the
 * opening of the session and the request: the command has then not begun, and is repeated.
 */
export async function openSession<T>(
  connection: Connection,
  request: CommandRequest<T>,
  signal: AbortSignal,
): Promise<Session<T>> {
  for (let attempt = 1; ; attempt++) {
    const release = await connection.slots.take(signal);
    try {
      return { attached: await requestCommand(connection, request), release };
    } catch (error) {
      const mayRepeat = connection.failure() === undefined && attempt < ATTEMPTS && connection.mayRepeat();
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

function openExec<T>(connection: Connection, request: CommandRequest<T>): Promise<T> {
  return connection.alone(
    () =>
      new Promise((resolve, reject) => {
        const refuse = (cause: unknown): void =>
          reject(
            connection.failure() ??
              new GuestError('refused', `the SSH server refused a command: ${reasonOf(cause)}`, { cause }),
          );
        const take = (error: Error | undefined, channel: ClientChannel): void => {
          if (error !== undefined) return refuse(error);
          channel.on('error', () => undefined);
          keepOpen(channel);
          resolve(request.attach(channel));
        };
        try {
          if (connection.failure() === undefined) sendRequest(connection.client, request, take);
          else refuse(undefined);
        } catch (error) {
          refuse(error);
        }
      }),
  );
}

/**
 * Leaves CHANNEL_CLOSE to the server. Node destroys a stream after both its ends, and ssh2 then sends CHANNEL_CLOSE. dropbear answers one
 * before the command's exit without the exit status, or fails its assertion `!channel->sent_close`, which ends the connection.
 */
function keepOpen(channel: ClientChannel): void {
  channel.destroy = () => channel;
}

function sendRequest(
  client: Client,
  { text, pty, subsystem = false }: Omit<CommandRequest<unknown>, 'attach'>,
  take: (error: Error | undefined, channel: ClientChannel) => void,
): void {
  if (subsystem) client.subsys(text, take);
  else client.exec(text, pty === undefined ? {} : { pty: terminalOf(pty) }, take);
}

function terminalOf({ columns, rows, term = 'xterm-256color' }: Terminal): PseudoTtyOptions {
  return { cols: columns, rows, term, width: 0, height: 0 };
}
