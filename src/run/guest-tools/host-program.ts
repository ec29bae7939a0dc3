import { execFile } from 'node:child_process';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { GuestToolsError } from './errors.ts';

/** Largest output of a program, in bytes: an unpacked kernel module. */
const OUTPUT_BYTES = 64 * 2 ** 20;

/** Program of the host that the guest tools need. */
export type HostProgram = keyof typeof PROGRAM_PACKAGES;

/** Options of {@link runProgram}. */
export interface ProgramOptions {
  readonly cwd?: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs a program of the host until it exits, and returns its output. Its messages are in English.
 * @throws GuestToolsError with the program's last messages, or the Debian package to install
 */
export function runProgram(
  program: HostProgram | { readonly path: string },
  words: readonly string[],
  { cwd, signal }: ProgramOptions = {},
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const options = {
      cwd,
      signal,
      maxBuffer: OUTPUT_BYTES,
      encoding: 'buffer',
      env: { ...process.env, LC_ALL: 'C' },
    } as const;
    execFile(
      typeof program === 'string' ? program : program.path,
      words,
      options,
      (error, stdout, stderr) => {
        if (error === null) return resolve(stdout);
        if (signal?.aborted === true) return reject(abortReason(signal));
        reject(programError(program, error, stderr.toString()));
      },
    );
  });
}

const PROGRAM_PACKAGES = {
  'apt-get': 'apt',
  'apt-cache': 'apt',
  'dpkg-deb': 'dpkg',
  xz: 'xz-utils',
  gzip: 'gzip',
  zstd: 'zstd',
} as const;

function programError(
  program: HostProgram | { readonly path: string },
  error: Error,
  messages: string,
): GuestToolsError {
  if (typeof program !== 'string' || codeOf(error) !== 'ENOENT') {
    const reason = messages.trim().split('\n').slice(-3).join('; ') || reasonOf(error);
    return new GuestToolsError(`${typeof program === 'string' ? program : program.path}: ${reason}`, {
      cause: error,
    });
  }
  const isApt = PROGRAM_PACKAGES[program] === 'apt';
  return new GuestToolsError(
    isApt
      ? 'the guest tools are made from Debian packages, and this host has no apt: copy the folder guest-tools of the cache ' +
          '(~/.cache/nephos/guest-tools) from a Debian host with the same release of Nephos'
      : `${program} was not found: install the package ${PROGRAM_PACKAGES[program]}`,
    { cause: error },
  );
}

function abortReason({ reason }: AbortSignal): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
