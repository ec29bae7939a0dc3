/** Consoles of a guest: a terminal's output, typed input, and commands with their output. */
import { randomBytes } from 'node:crypto';
import { constants, openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { ReadStream } from 'node:tty';
import { until } from './wait.ts';

/** Console of a guest. */
export interface Shell {
  /** all output so far, without carriage returns */
  readonly shown: () => string;
  /** Types a text. */
  readonly type: (text: string) => void;
  /** Waits until a text is in the output, from the start of the session on. */
  readonly sees: (text: string) => Promise<void>;
  /** Waits for the login prompt, `timeoutMs` milliseconds at most, and logs in as root. */
  readonly login: (timeoutMs?: number) => Promise<void>;
  /** Runs a command and returns its output, without the last newline; `timeoutMs` in milliseconds. */
  readonly run: (command: string, timeoutMs?: number) => Promise<string>;
  readonly [Symbol.dispose]: () => void;
}

/** Stream that a console is read from and written to. */
export interface Line {
  readonly write: (text: string) => void;
  readonly onData: (take: (bytes: Buffer) => void) => void;
  readonly close: () => void;
}

/** Opens a PTY, as a terminal program does. */
export function openShell(path: string): Shell {
  const stream = new ReadStream(openSync(path, constants.O_RDWR | constants.O_NOCTTY));
  stream.on('error', () => undefined);
  return shellOn({
    write: (text) => void stream.write(text),
    onData: (take) => void stream.on('data', take),
    close: () => void stream.destroy(),
  });
}

/** Connects to a console on a UNIX socket. */
export function openShellOnSocket(path: string): Shell & { readonly socket: Socket } {
  const socket = connect(path);
  socket.on('error', () => undefined);
  const shell = shellOn({
    write: (text) => void socket.write(text),
    onData: (take) => void socket.on('data', take),
    close: () => void socket.destroy(),
  });
  return { ...shell, socket };
}

/** Makes a console of any stream. */
export function shellOn(line: Line): Shell {
  let shown = '';
  // terminals on the way may add carriage returns
  line.onData((bytes) => (shown += bytes.toString('latin1').replaceAll('\r', '')));
  const type = (text: string): void => line.write(text);
  const sees = (text: string): Promise<void> =>
    until(
      `the guest shows ${text}`,
      () => shown.includes(text),
      () => shown,
    );
  const run = async (command: string, timeoutMs?: number): Promise<string> => {
    const mark = randomBytes(6).toString('hex');
    const [begin, end] = [`${mark}-begin\n`, `${mark}-end\n`];
    const from = shown.length;
    // the prompt of the previous command may be late: the output is between the marks
    type(`echo ${mark}-begin; ${command}; echo ${mark}-end\r`);
    const answered = (): number => shown.indexOf(end, from);
    await until(
      `the guest answers ${command}`,
      () => answered() >= 0,
      () => shown.slice(from),
      timeoutMs,
    );
    const begun = shown.indexOf(begin, from);
    if (begun < 0)
      throw new Error(`the answer to ${command} has no begin: ${JSON.stringify(shown.slice(from))}`);
    return shown.slice(begun + begin.length, answered()).trimEnd();
  };
  return {
    shown: () => shown,
    type,
    sees,
    run,
    login: async (timeoutMs) => {
      const from = shown.length;
      await until(
        'the guest asks for a login',
        () => shown.includes('login:', from),
        () => shown,
        timeoutMs,
      );
      const asked = shown.length;
      type('root\r');
      await until(
        'the guest shows a prompt',
        () => shown.includes('# ', asked),
        () => shown,
      );
      // without an echo only the output of a command is printed; `sane` maps CR to NL, which getty does not always do;
      // the kernel prints panics only: other messages, e.g. of added memory, would be within the output of a command
      type('stty sane -echo; dmesg -n 1; echo quiet""-now\r');
      await until(
        'the echo is off',
        () => /^quiet-now\n.*# /ms.test(shown.slice(asked)),
        () => shown,
      );
    },
    [Symbol.dispose]: () => line.close(),
  };
}
