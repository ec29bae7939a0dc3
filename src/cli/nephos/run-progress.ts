import type { ImageProgress } from '../../images/image.ts';
import { showSize } from './text.ts';

/** Interval of the line, in milliseconds. */
const INTERVAL_MS = 100;

const VERB: Readonly<Record<ImageProgress['step'], string>> = {
  resolve: 'Looking up',
  download: 'Downloading',
  unpack: 'Unpacking',
};

/** Progress of an image on the terminal of standard error; nothing where that is no terminal. */
export interface Progress extends Disposable {
  readonly show: (progress: ImageProgress) => void;
  /** Removes the line */
  readonly clear: () => void;
}

/** Creates one without a line. */
export function createProgress(): Progress {
  const { stderr } = process;
  let shown = 0;
  let isVisible = false;
  const clear = (): void => {
    if (isVisible) stderr.write('\r\u001B[K');
    isVisible = false;
  };
  return {
    show: ({ step, subject, done, total }) => {
      const now = performance.now();
      if (!stderr.isTTY || now - shown < INTERVAL_MS) return;
      shown = now;
      isVisible = true;
      const size = total === undefined ? showSize(done) : `${showSize(done)} of ${showSize(total)}`;
      stderr.write(`\r\u001B[K${VERB[step]} ${subject.slice(0, 40)}: ${size}`);
    },
    clear,
    [Symbol.dispose]: clear,
  };
}
