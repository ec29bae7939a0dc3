import { clip } from './clip.ts';

/** How much is written: `warn` without `-v`, `info`, `debug` and `trace` with one, two and three. */
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
  /** a person may be reading: see {@link logDots} */
  readonly isTerminal?: boolean;
}

let sink: LogSink = { level: 'warn', write: (text) => void process.stderr.write(text) };

/** Sets where log lines go and how many; called once, by the entry point. */
export function configureLog(options: LogSink): void {
  sink = options;
}

/** A log whose lines read `cloud-hypervisor: <elapsed>: <vmm> LEVEL:<target> -- <message>`, as the original's. */
export function createLog(target: string): Log {
  const at = (level: LogLevel) => (message: string) => {
    if (LEVELS.indexOf(level) <= LEVELS.indexOf(sink.level)) writeLine(level, target, message);
  };
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), trace: at('trace') };
}

/** Logs at level `info`, but always: what a user must know of a start that went well, e.g. the path of a PTY. */
export function logNotice(target: string, message: string): void {
  writeLine('info', target, message);
}

function writeLine(level: LogLevel, target: string, message: string): void {
  endDots();
  sink.write(
    `cloud-hypervisor: ${elapsed()}: <vmm> ${level.toUpperCase()}:${target} -- ${oneLine(message)}\n`,
  );
}

/** How often a dot is written, in milliseconds. */
const DOT_MS = 1000;
/** The last line of the log is one of dots. */
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

/** A guest's or client's text must not be able to forge a second line of log. */
function oneLine(message: string): string {
  return clip(message, LINE_MAX).replaceAll('\r', '\\r').replaceAll('\n', '\\n');
}
