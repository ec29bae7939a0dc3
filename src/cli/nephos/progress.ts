import type { ImageProgress } from '../../images/image.ts';
import { clip } from '../../util/clip.ts';
import { printable, showSize } from './text.ts';

/** Shortest interval between two lines, in milliseconds. */
const INTERVAL_MS = 100;

/** Erases the line of the cursor. */
const ERASE = '\r\u{1b}[K';

/** Longest subject, in characters: part of a digest. */
const SUBJECT_MAX = 40;

/** Progress on a terminal: one line that is renewed, and erased at last. */
export interface ProgressLine extends Disposable {
  readonly image: (progress: ImageProgress) => void;
  readonly text: (text: string) => void;
}

/** Opens a progress line on standard error. Without a terminal nothing is written. */
export function openProgressLine(stream: NodeJS.WriteStream = process.stderr): ProgressLine {
  let last = -Infinity;
  let isShown = false;
  const text = (line: string, interval = INTERVAL_MS): void => {
    if (!stream.isTTY || performance.now() - last < interval) return;
    last = performance.now();
    isShown = true;
    stream.write(`${ERASE}${clip(printable(line), Math.max(1, stream.columns - 1))}`);
  };
  return {
    image: (progress) => text(showProgress(progress)),
    text: (line) => text(line, 0),
    [Symbol.dispose]: () => {
      if (isShown) stream.write(ERASE);
    },
  };
}

/** Returns `download sha256:12ab... 3.1 MiB of 7.5 MiB`. */
export function showProgress({ step, subject, done, total }: ImageProgress): string {
  const amount = total === undefined ? showSize(done) : `${showSize(done)} of ${showSize(total)}`;
  const shown = subject.length > SUBJECT_MAX ? `${subject.slice(0, SUBJECT_MAX)}...` : subject;
  return `${step} ${shown}${done === 0 && total === undefined ? '' : ` ${amount}`}`;
}
