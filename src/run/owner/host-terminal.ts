import type { TerminalSize } from '../../guest/guest.ts';
import { RunError } from '../errors.ts';

/** Size where standard output is not a terminal. */
const DEFAULT_SIZE: TerminalSize = { columns: 80, rows: 24 };

/** @throws RunError where standard input must be a terminal and is none */
export function checkTerminal({
  hasTerminal,
  isInteractive,
  isDetached,
}: {
  readonly hasTerminal: boolean;
  readonly isInteractive: boolean;
  readonly isDetached: boolean;
}): void {
  if (hasTerminal && isInteractive && !isDetached && !process.stdin.isTTY)
    throw new RunError('invalid', 'standard input is not a terminal: use -i without -t');
}

/** Returns the size of the terminal of this process. */
export function terminalSize(): TerminalSize {
  const { stdout } = process;
  return stdout.isTTY ? { columns: stdout.columns, rows: stdout.rows } : DEFAULT_SIZE;
}

/**
 * Gives the terminal of this process to a command of a guest: its input is raw, and its sizes are reported, until the result is disposed
 * of.
 */
export function lendTerminal(isInteractive: boolean, resize: (size: TerminalSize) => void): Disposable {
  const { stdin, stdout } = process;
  const onResize = (): void => resize(terminalSize());
  stdout.on('resize', onResize);
  const isRaw = isInteractive && stdin.isTTY;
  if (isRaw) stdin.setRawMode(true);
  return {
    [Symbol.dispose]: () => {
      stdout.off('resize', onResize);
      if (isRaw) stdin.setRawMode(false);
    },
  };
}
