import { createOutput, type Output, type OutputOptions } from './output.ts';

/** How many bytes of text wait for a reader; what is written beyond is dropped and counted. */
const LIMIT_BYTES = 2 ** 20;

/** Writes texts whole or not at all; never blocks. */
export interface LineOutput {
  readonly write: (text: string) => void;
  /** Takes no more; `release` of the options is called as soon as all is written. */
  readonly close: () => void;
}

/**
 * Writes texts to a descriptor. `note` says how many were dropped, in the same form as the texts: it stands where they are missing.
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
    if (output.waiting() > LIMIT_BYTES) {
      dropped++;
      return;
    }
    const missing = dropped === 0 ? '' : note(dropped);
    dropped = 0;
    output.write(Buffer.from(missing + text));
  };
}
