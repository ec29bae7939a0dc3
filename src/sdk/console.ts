import type { Duplex } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { ConsoleError } from './errors.ts';
import type { CallOptions } from './client.ts';
import { openPtyStream } from './pty-stream.ts';

/** Length of the output that is kept for {@link Console.waitFor}, in characters. */
const KEPT = 2 ** 20;

/** Console of a guest: its output and its input. */
export interface Console {
  /** Bytes in both directions, for `pipe` and `on('data')`. Output before a listener was added is not repeated. */
  readonly stream: Duplex;
  /** Sends a text as input. A command ends with a newline. */
  readonly write: (text: string) => void;
  /**
   * Waits for output after the last match that contains a text or matches a pattern. Concurrent waits would consume each
   * other's output: await one before the next. There is no time limit without `timeoutMs` (`milliseconds`).
   * @returns the match; its `input` is the output since the last match
   * @throws {ConsoleError} on timeout, a closed console, or abort
   */
  readonly waitFor: (pattern: string | RegExp, options?: CallOptions) => Promise<RegExpExecArray>;
}

/** Opens the PTY of a console. The caller destroys the stream. */
export function openConsole(path: string): Console {
  const stream = openPtyStream(path);
  // `close` follows, and rejects pending waits
  stream.on('error', () => undefined);
  return consoleOn(stream);
}

/** Returns a console on a stream. */
export function consoleOn(stream: Duplex): Console {
  const decoder = new StringDecoder('utf8');
  let shown = '';
  let findMatch: () => void = () => undefined;
  stream.on('data', (bytes: Buffer) => {
    shown = (shown + decoder.write(bytes)).slice(-KEPT);
    findMatch();
  });
  const waitFor: Console['waitFor'] = (pattern, { timeoutMs, signal } = {}) =>
    new Promise((resolve, reject) => {
      const expression = expressionOf(pattern);
      const settle = (act: () => void): void => {
        findMatch = () => undefined;
        stream.off('close', onClose);
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        act();
      };
      const fail = (fault: ConsoleError['fault']) => (): void =>
        settle(() => reject(new ConsoleError(fault, pattern, shown)));
      const [onClose, onAbort] = [fail('closed'), fail('aborted')];
      // a pending wait keeps the process running
      const timer = timeoutMs === undefined ? undefined : setTimeout(fail('timeout'), timeoutMs);
      findMatch = () => {
        const match = expression.exec(shown);
        if (match === null) return;
        shown = shown.slice(match.index + match[0].length);
        settle(() => resolve(match));
      };
      stream.once('close', onClose);
      signal?.addEventListener('abort', onAbort);
      if (signal?.aborted === true) return onAbort();
      findMatch();
      if (stream.destroyed) onClose();
    });
  return { stream, write: (text) => void stream.write(text), waitFor };
}

/** Returns a pattern without the flags `g` and `y`, which change the start of the search. */
function expressionOf(pattern: string | RegExp): RegExp {
  if (typeof pattern === 'string') return new RegExp(pattern.replace(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`));
  return new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''));
}
