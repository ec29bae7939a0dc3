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
  readonly write: (line: string) => void;
}

let sink: LogSink = { level: 'warn', write: (line) => void process.stderr.write(line) };

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
  sink.write(
    `cloud-hypervisor: ${elapsed()}: <vmm> ${level.toUpperCase()}:${target} -- ${oneLine(message)}\n`,
  );
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
