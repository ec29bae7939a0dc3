import { clip } from './clip.ts';

/** Level of a line: `warn` is written without `-v`, `info`, `debug` and `trace` with one, two and three `-v`. */
export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'trace';

const LEVELS: readonly LogLevel[] = ['error', 'warn', 'info', 'debug', 'trace'];

/** Writes lines of one part of the program, named by `target` in each line. */
export interface Log {
  readonly error: (message: string) => void;
  readonly warn: (message: string) => void;
  readonly info: (message: string) => void;
  readonly debug: (message: string) => void;
  readonly trace: (message: string) => void;
}

interface LogSink {
  readonly level: LogLevel;
  readonly write: (text: string) => void;
  /** Returns the line of a message, without its end; that of Cloud Hypervisor by default */
  readonly render?: (message: string) => string;
  /** the log is a terminal: see {@link logDots} */
  readonly isTerminal?: boolean;
}

let sink: LogSink = { level: 'warn', write: (text) => void process.stderr.write(text) };

/** Sets the destination and the level of the log; called once, by the entry point. */
export function configureLog(options: LogSink): void {
  sink = options;
}

/** Creates a log with lines of Cloud Hypervisor's form: `cloud-hypervisor: <elapsed>: <vmm> LEVEL:<target> -- <message>`. */
export function createLog(target: string): Log {
  const at = (level: LogLevel) => (message: string) => {
    if (LEVELS.indexOf(level) <= LEVELS.indexOf(sink.level)) writeLine(level, target, message);
  };
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), trace: at('trace') };
}

/** Returns a log whose messages begin with the name of their subject, e.g. `fs _fs0: `. */
export function namedLog(log: Log, name: string): Log {
  const at = (level: LogLevel) => (message: string) => log[level](`${name}: ${message}`);
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), trace: at('trace') };
}

/** Logs at level `info`, whatever the level of the log: facts that a user needs after a start, e.g. the path of a PTY. */
export function logNotice(target: string, message: string): void {
  writeLine('info', target, message);
}

function writeLine(level: LogLevel, target: string, message: string): void {
  endDots();
  const text = oneLine(message);
  const line =
    sink.render?.(text) ??
    `cloud-hypervisor: ${elapsed()}: <vmm> ${level.toUpperCase()}:${target} -- ${text}`;
  sink.write(`${line}\n`);
}

/** Interval of the dots, in milliseconds. */
const DOT_MS = 1000;
/** The last line of the log consists of dots. */
let hasDots = false;

/** Writes a dot a second where the log is a terminal, until it is disposed of. */
export function logDots(): Disposable {
  if (sink.isTerminal !== true) return { [Symbol.dispose]: () => undefined };
  const timer = setInterval(() => {
    hasDots = true;
    sink.write('.');
  }, DOT_MS).unref();
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      endDots();
    },
  };
}

function endDots(): void {
  if (hasDots) sink.write('\n');
  hasDots = false;
}

function elapsed(): string {
  const ms = performance.now();
  return ms < 1000 ? `${ms.toFixed(6)}ms` : `${(ms / 1000).toFixed(9)}s`;
}

/** Longest line in characters: a stack, or the command line of QEMU. */
const LINE_MAX = 16_384;

/** Escapes line breaks: a text of a guest or client must not forge a second line. */
function oneLine(message: string): string {
  return clip(message, LINE_MAX).replaceAll('\r', '\\r').replaceAll('\n', '\\n');
}
