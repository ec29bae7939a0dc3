import type { Duplex } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { ConsoleError } from './errors.ts';
import type { CallOptions } from './client.ts';
import { openPtyStream } from './pty-stream.ts';

/** How much of what was shown is kept for {@link Console.waitFor}, in characters. */
const KEPT = 2 ** 20;

/** A guest's console: what it shows, and a way to type. */
export interface Console {
  /** The bytes in both directions, for `pipe` and `on('data')`; what was shown before a listener came is not repeated. */
  readonly stream: Duplex;
  /** Types a text. A command ends with a newline. */
  readonly write: (text: string) => void;
  /**
   * Waits until the guest has shown a text or what a pattern matches, behind the last match. Two waits at a time
   * would take each other's text: wait for one behind the other. No time limit unless `timeoutMs` (`milliseconds`).
   * @returns the match; its `input` is all that was shown since the last one
   * @throws {ConsoleError}
   */
  readonly waitFor: (pattern: string | RegExp, options?: CallOptions) => Promise<RegExpExecArray>;
}

/** Opens a PTY that a VMM holds; the caller destroys the stream. */
export function openConsole(path: string): Console {
  const stream = openPtyStream(path);
  // `close` follows, and tells those who wait
  stream.on('error', () => undefined);
  return consoleOn(stream);
}

/** A console at the end of any stream. */
export function consoleOn(stream: Duplex): Console {
  const decoder = new StringDecoder('utf8');
  let shown = '';
  let look: () => void = () => undefined;
  stream.on('data', (bytes: Buffer) => {
    shown = (shown + decoder.write(bytes)).slice(-KEPT);
    look();
  });
  const waitFor: Console['waitFor'] = (pattern, { timeoutMs, signal } = {}) =>
    new Promise((resolve, reject) => {
      const expression = expressionOf(pattern);
      const settle = (act: () => void): void => {
        look = () => undefined;
        stream.off('close', onClose);
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        act();
      };
      const fail = (fault: ConsoleError['fault']) => (): void =>
        settle(() => reject(new ConsoleError(fault, pattern, shown)));
      const [onClose, onAbort] = [fail('closed'), fail('aborted')];
      // holds the process, as a wait should
      const timer = timeoutMs === undefined ? undefined : setTimeout(fail('timeout'), timeoutMs);
      look = () => {
        const match = expression.exec(shown);
        if (match === null) return;
        shown = shown.slice(match.index + match[0].length);
        settle(() => resolve(match));
      };
      stream.once('close', onClose);
      signal?.addEventListener('abort', onAbort);
      if (signal?.aborted === true) return onAbort();
      look();
      if (stream.destroyed) onClose();
    });
  return { stream, write: (text) => void stream.write(text), waitFor };
}

/** Without `g` and `y`, which would make the search start somewhere else. */
function expressionOf(pattern: string | RegExp): RegExp {
  if (typeof pattern === 'string') return new RegExp(pattern.replace(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`));
  return new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''));
}
