import { createOutput, type Output, type OutputOptions } from './output.ts';

/** Most bytes of text that are queued for a reader; texts beyond are dropped and counted. */
const LIMIT_BYTES = 2 ** 20;

/** Writes texts whole or not at all; never blocks. */
export interface LineOutput {
  readonly write: (text: string) => void;
  /** Accepts no more texts; `release` of the options is called as soon as all are written. */
  readonly close: () => void;
}

/**
 * Writes texts to a descriptor. `note` returns a text that reports how many were dropped; it is written in their place.
 * @throws where the descriptor is not open
 */
export function createLineOutput(
  fd: number,
  note: (dropped: number) => string,
  options: OutputOptions = {},
): LineOutput {
  const output = createOutput(fd, options);
  return { write: boundLines(output, note), close: output.close };
}

function boundLines(output: Output, note: (dropped: number) => string): LineOutput['write'] {
  let dropped = 0;
  return (text) => {
    if (output.queued() > LIMIT_BYTES) {
      dropped++;
      return;
    }
    const missing = dropped === 0 ? '' : note(dropped);
    dropped = 0;
    output.write(Buffer.from(missing + text));
  };
}
