import { VIEWED_CONSOLES } from '../api/console-messages.ts';
import { connectConsole, type ConsoleConnection } from '../sdk/console-stream.ts';
import { UsageError } from './flags.ts';
import { splitAtEscape } from './nephos/console-escape.ts';
import type { RemoteCall } from './remote-arguments.ts';
import { commandError } from './sdk-error.ts';

/** Signals that end the program: the settings of the terminal are restored first. */
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/**
 * Connects the terminal to a console until Ctrl-], the end of the input, or the end of the console. Rejects with CommandError,
 * and with UsageError for another console.
 */
export async function attachTerminal({ socketPath, options, switches }: RemoteCall): Promise<void> {
  const name = options.get('device') ?? 'serial';
  const device = VIEWED_CONSOLES.find((one) => one === name);
  if (device === undefined) {
    throw new UsageError(`The console '${name}' does not exist`, `expected ${VIEWED_CONSOLES.join(' or ')}`);
  }
  const write = !switches.includes('read-only');
  const connection = connectConsole({ socketPath, device, write });
  await connection.opened.catch((error: unknown) => {
    throw commandError(error);
  });
  notify(`${device}: ${write ? '' : 'read-only; '}Ctrl-] disconnects`);
  const reason = await copy(connection, write);
  notify(reason);
}

/** Writes a line for a user at a terminal. */
function notify(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${line}\r\n`);
}

/** Copies input and output, with the terminal in raw mode. @returns the reason of the end, empty if the user ended it */
async function copy({ stream, ended, resize }: ConsoleConnection, write: boolean): Promise<string> {
  const { stdin, stdout } = process;
  const sendSize = (): void => {
    if (stdout.isTTY && stdout.columns > 0 && stdout.rows > 0) resize(stdout.columns, stdout.rows);
  };
  // `ended` has the reason
  stream.on('error', () => undefined);
  stdout.on('resize', sendSize).on('error', () => stream.destroy());
  using _terminal = useTerminal({ isRead: write || stdin.isTTY });
  if (write || stdin.isTTY) {
    stdin.on('data', (bytes: Buffer) => {
      const { before, isEscape } = splitAtEscape(bytes);
      if (write && before.length > 0 && !stream.write(before)) stdin.pause();
      if (isEscape) stream.destroy();
    });
    stream.on('drain', () => stdin.resume());
    stdin.once('end', () => stream.end());
  }
  sendSize();
  stream.pipe(stdout, { end: false });
  const reason = await ended;
  // the rest of the output is written
  if (!stream.readableEnded && !stream.destroyed)
    await new Promise((resolve) => stream.once('close', resolve));
  return reason;
}

/** Sets raw mode until the disposal, or a signal that ends the program. */
function useTerminal({ isRead }: { readonly isRead: boolean }): Disposable {
  const { stdin } = process;
  const restore = (): void => {
    if (stdin.isTTY) stdin.setRawMode(false);
  };
  const onSignal = (signal: keyof typeof SIGNALS): void => {
    restore();
    process.exit(128 + SIGNALS[signal]);
  };
  for (const signal of Object.keys(SIGNALS)) process.on(signal, onSignal);
  if (stdin.isTTY && isRead) stdin.setRawMode(true);
  return {
    [Symbol.dispose]: () => {
      restore();
      for (const signal of Object.keys(SIGNALS)) process.off(signal, onSignal);
      stdin.destroy();
    },
  };
}
