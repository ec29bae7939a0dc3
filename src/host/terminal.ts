import type { Pty } from './pty.ts';

/** The VMM's own standard input and output as a console; at most one console has it. */
export type Terminal = Omit<Pty, 'path'>;

/** How much waits for an output that takes nothing, in bytes; what is beyond is lost. */
const MOST_BYTES = 16 * 2 ** 20;

/**
 * Takes the terminal: raw mode when standard input is one, until `dispose` gives it back as it was.
 * Input that is no terminal is left alone, as the original leaves it.
 */
export function openTerminal(): Terminal {
  const { stdin, stdout } = process;
  let take: (bytes: Buffer) => void = () => undefined;
  const onData = (bytes: Buffer): void => take(bytes);
  // whoever read the output may go away; the guest goes on
  const onError = (): void => undefined;
  stdout.on('error', onError);
  if (stdin.isTTY) {
    stdin.setRawMode(true);
    stdin.on('data', onData);
    // a listener alone does not undo the pause of the life before
    stdin.resume();
  }
  return {
    write: (bytes) => stdout.destroyed || stdout.writableLength > MOST_BYTES || stdout.write(bytes),
    onDrain: (resume) => void stdout.once('drain', resume),
    onInput: (next) => {
      take = next;
    },
    dispose: () => {
      if (!stdin.isTTY) return;
      stdin.off('data', onData);
      stdin.setRawMode(false);
      stdin.pause();
    },
  };
}
