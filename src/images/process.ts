import { isAbsolute, normalize } from 'node:path/posix';
import { ImageError } from './image-error.ts';
import type { ImageProcess } from './image.ts';

/*
 * The main process of a run, by the rules of docker: what a request leaves out, the image's configuration decides. Pure.
 */

/** Members of a request that concern the process. */
export interface ProcessRequest {
  /** Command and arguments; empty: those of the image */
  readonly command: readonly string[];
  /** Replaces the image's entry point and its command; an empty text removes both */
  readonly entrypoint?: string;
  readonly env: Readonly<Record<string, string>>;
  /** Absolute */
  readonly workingDirectory?: string;
  readonly user?: string;
  readonly hasTerminal: boolean;
}

/** A process to start in the root file system of an image. */
export interface PlannedProcess {
  /** Program and arguments; a program without a slash is searched in `PATH` of `env` */
  readonly argv: readonly string[];
  /**
   * All variables. `HOME` is missing unless the image or the request sets it: it is then that of the user in the image's
   * /etc/passwd, or `/`
   */
  readonly env: Readonly<Record<string, string>>;
  /** Absolute; created, as a directory of root, if it does not exist */
  readonly cwd: string;
  /** `name`, `uid`, `name:group` or `uid:gid`, by the image's /etc/passwd and /etc/group; empty: root */
  readonly user: string;
}

/** Docker's `PATH` of an image without one. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Docker's terminal type, which all images are expected to know. */
const DEFAULT_TERM = 'xterm';

/** Process of an image without a configuration: a directory, or a kernel alone. */
const SHELL: ImageProcess = {
  entrypoint: [],
  command: ['/bin/sh'],
  env: [],
  workingDirectory: '/',
  user: '',
  stopSignal: 'SIGTERM',
  exposedPorts: [],
};

/**
 * Plans the process of a run. `name` is that of the image, for messages.
 * @throws ImageError where there is no command, or a value that no process can have
 */
export function planProcess(
  name: string,
  image: ImageProcess | undefined,
  request: ProcessRequest & { readonly hostname: string },
): PlannedProcess {
  const process = image ?? SHELL;
  const argv = argvOf(process, request);
  if (argv.length === 0)
    throw new ImageError('invalid', name, 'it has no command; write a command behind its name');
  const planned = {
    argv,
    env: envOf(process, request),
    cwd: directoryOf(name, process, request),
    user: request.user ?? process.user,
  };
  checkTexts(name, planned);
  return planned;
}

function argvOf(image: ImageProcess, { entrypoint, command }: ProcessRequest): readonly string[] {
  // a new entry point is not meant for the arguments of the old one
  if (entrypoint !== undefined) return entrypoint === '' ? command : [entrypoint, ...command];
  return [...image.entrypoint, ...(command.length > 0 ? command : image.command)];
}

function envOf(
  image: ImageProcess,
  { env, hasTerminal, hostname }: ProcessRequest & { readonly hostname: string },
): Record<string, string> {
  return {
    PATH: DEFAULT_PATH,
    HOSTNAME: hostname,
    ...(hasTerminal && { TERM: DEFAULT_TERM }),
    ...Object.fromEntries(image.env.flatMap(splitVariable)),
    ...env,
  };
}

/** Splits `NAME=value`. A name alone has no value that could be set. */
function splitVariable(text: string): readonly (readonly [name: string, value: string])[] {
  const equals = text.indexOf('=');
  return equals < 1 ? [] : [[text.slice(0, equals), text.slice(equals + 1)]];
}

/** A relative directory of an image is below the root, as builders mean it. */
function directoryOf(name: string, image: ImageProcess, { workingDirectory }: ProcessRequest): string {
  if (workingDirectory === undefined) return withoutSlash(normalize(`/${image.workingDirectory}`));
  if (isAbsolute(workingDirectory)) return withoutSlash(normalize(workingDirectory));
  const shown = JSON.stringify(workingDirectory);
  throw new ImageError('invalid', name, `the working directory ${shown} must be an absolute path`);
}

function withoutSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/** Limit of one argument or variable in Linux (MAX_ARG_STRLEN, with the zero byte), in `bytes`. */
const TEXT_MAX_BYTES = 131_072;

function checkTexts(name: string, { argv, env, cwd, user }: PlannedProcess): void {
  for (const [key, value] of Object.entries(env)) {
    if (key === '' || key.includes('='))
      throw new ImageError('invalid', name, `${JSON.stringify(key)} is not the name of a variable`);
    checkText(name, `variable ${key}`, `${key}=${value}`);
  }
  for (const [i, text] of argv.entries()) checkText(name, i === 0 ? 'command' : `argument ${i}`, text);
  checkText(name, 'working directory', cwd);
  checkText(name, 'user', user);
}

function checkText(name: string, what: string, text: string): void {
  if (text.includes('\0')) throw new ImageError('invalid', name, `the ${what} has a NUL character`);
  if (Buffer.byteLength(text) >= TEXT_MAX_BYTES)
    throw new ImageError('invalid', name, `the ${what} is longer than ${TEXT_MAX_BYTES - 1} bytes`);
}

/** Signals of Linux on x86-64 and arm64 by their numbers, from 1 on. */
const SIGNALS =
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'.split(
    ' ',
  );

const REAL_TIME = { first: 34, last: 64 } as const;

/**
 * Returns the number of a signal: `SIGTERM`, `term`, `15`, `SIGRTMIN+3` or `RTMAX-1`; undefined where there is none. Docker reads
 * the stop signal of an image in this way.
 */
export function signalNumber(text: string): number | undefined {
  if (/^\d{1,2}$/.test(text)) return inRange(Number(text));
  const name = text.toUpperCase().replace(/^SIG/, '');
  const [, base, sign, offset = '0'] = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name) ?? [];
  if (base === 'MIN' && sign !== '-') return inRealTime(REAL_TIME.first + Number(offset));
  if (base === 'MAX' && sign !== '+') return inRealTime(REAL_TIME.last - Number(offset));
  const index = SIGNALS.indexOf(name === 'POLL' ? 'IO' : name === 'IOT' ? 'ABRT' : name);
  return index < 0 ? undefined : index + 1;
}

function inRange(number: number): number | undefined {
  return number >= 1 && number <= REAL_TIME.last ? number : undefined;
}

function inRealTime(number: number): number | undefined {
  return number >= REAL_TIME.first && number <= REAL_TIME.last ? number : undefined;
}
