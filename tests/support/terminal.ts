import { execFileSync } from 'node:child_process';
import { openPty } from '../../src/host/console/pty.ts';
import { type Shell, shellOn } from './shell.ts';

/** A user's terminal with a program's standard input and output behind it. */
export interface TestTerminal {
  /** e.g. `/dev/pts/3` */
  readonly path: string;
  /** Input and output; closing it closes the terminal. */
  readonly shell: Shell;
  /** All of its settings in stty's own form: equal means exactly as before. */
  readonly settings: () => string;
  /** Returns true if it is in raw mode: no lines, no echo, no signals. */
  readonly isRaw: () => boolean;
  readonly [Symbol.dispose]: () => void;
}

/** Opens a terminal as a terminal program does, with the usual settings but those that are given. */
export async function openTerminal(...settings: string[]): Promise<TestTerminal> {
  const pty = await openPty();
  const stty = (...args: string[]): string =>
    execFileSync('stty', ['-F', pty.path, ...args], { encoding: 'utf8' });
  stty('sane', 'rows', '24', 'cols', '80', ...settings);
  const shell = shellOn({
    write: (text) => pty.write(Buffer.from(text)),
    onData: pty.onInput,
    close: pty.dispose,
  });
  return {
    path: pty.path,
    shell,
    settings: () => stty('-g').trim(),
    isRaw: () => {
      const all = stty('-a');
      return ['-icanon', '-echo', '-isig'].every((one) => all.split(/\s+/).includes(one));
    },
    [Symbol.dispose]: pty.dispose,
  };
}
