import { spawn, type ChildProcess } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { requireProgramDescriptors } from '../../util/free-descriptors.ts';
import { createLog } from '../../util/log.ts';
import { withoutHugePages } from '../../native/huge-pages.ts';
import { findProgram, programProblem } from './program.ts';
import { userArguments } from './confinement.ts';
import type { Descriptor } from './descriptors.ts';
import { QemuError } from './qemu-error.ts';

const log = createLog('qemu');

/**
 * Starts QEMU's process with its descriptors from 3 on. `ends` are descriptors that the VMM has opened for it, by the id of their
 * chardev. Without `hugePages` it gets no transparent huge pages.
 * Rejects with QemuError if the host cannot start it (no program, descriptors or memory), and leaves no descriptor open.
 */
export async function spawnQemu(
  args: readonly string[],
  descriptors: readonly Descriptor[],
  ends: ReadonlyMap<string, number>,
  hugePages: boolean,
): Promise<ChildProcess> {
  const [command, ...words] = commandLine(args);
  const inherited = descriptors.map((one) => {
    if (one.use === 'given' || one.use === 'inherited') return one.fd;
    return ('id' in one ? ends.get(one.id) : undefined) ?? ('pipe' as const);
  });
  log.debug(`starting ${[command, ...words].map((word) => JSON.stringify(word)).join(' ')}`);
  const start = (): Promise<ChildProcess> => spawnChild(command, words, inherited);
  return hugePages ? start() : (await withoutHugePages())(start);
}

/** Spawns a process. Node reports a failure by an event or an exception. Without free descriptors the child has no streams. */
function spawnChild(command: string, words: string[], inherited: (number | 'pipe')[]): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => reject(startFailure(command, error));
    try {
      requireProgramDescriptors(inherited.length);
      const child = spawn(command, words, {
        stdio: ['ignore', 'ignore', 'pipe', ...inherited],
        env: environment(),
        // a session of its own, so that a Ctrl-C at the terminal signals the VMM only
        detached: true,
      });
      child.once('error', (error) => {
        for (const stream of streamsOf(child)) stream.destroy();
        fail(error);
      });
      child.once('spawn', () => resolve(child));
      // `exit` reports an exit before QMP is open
      child.on('error', () => undefined);
    } catch (error) {
      fail(error);
    }
  });
}

function startFailure(command: string, error: unknown): QemuError {
  const code = codeOf(error);
  const reason = (code === undefined ? undefined : SHORTAGES[code]) ?? reasonOf(error);
  return new QemuError(`${command}: ${reason}`, undefined, { cause: error });
}

/** Reasons for error codes of limits of the host. */
const SHORTAGES: Readonly<Record<string, string>> = {
  EMFILE: 'the VMM has too many open files (raise its limit: ulimit -n)',
  ENFILE: 'the host has too many open files (raise fs.file-max)',
  ENOMEM: 'the host has not enough memory',
  EAGAIN: 'the host cannot start another process now (limits: ulimit -u, pids.max of the cgroup)',
  ENOENT: 'no such file',
  EACCES: 'permission denied',
};

function streamsOf(child: ChildProcess): Duplex[] {
  // `stdio` is undefined if a pipe could not be made
  const all: readonly unknown[] | undefined = child.stdio;
  return (all ?? []).filter(isDuplex);
}

/** Returns the VMM's side of a stream to QEMU. @throws QemuError */
export function streamOf(child: ChildProcess, fd: number): Duplex {
  const stream: unknown = child.stdio[fd];
  if (!isDuplex(stream)) throw new QemuError('QEMU could not be started');
  return stream;
}

function isDuplex(value: unknown): value is Duplex {
  return typeof value === 'object' && value !== null && 'pipe' in value;
}

/**
 * Script that starts QEMU only if the VMM still runs: the kernel's parent-death signal is in effect from setpriv on. QEMU ignores SIGXFSZ:
 * a write beyond the limit of file sizes (`ulimit -f`) fails with EFBIG, as in the VMM itself, and does not end the VM.
 */
const START_UNLESS_ORPHAN = `trap '' XFSZ; [ "$PPID" = "$0" ] && exec "$@"`;

/** Returns the command: on Linux the kernel kills QEMU when the VMM exits, also after SIGKILL. @throws QemuError */
function commandLine(args: readonly string[]): [string, ...string[]] {
  const override = process.env['NEPHOS_QEMU'];
  const qemu = findProgram('qemu-system-x86_64', override);
  if (qemu === undefined) {
    throw new QemuError(
      override === undefined
        ? 'qemu-system-x86_64 was not found: install QEMU (8.2 or newer), or name it in NEPHOS_QEMU'
        : `NEPHOS_QEMU=${override}: ${programProblem(override)}`,
    );
  }
  if (process.platform !== 'linux') return [qemu, ...args];
  const setpriv = findProgram('setpriv');
  if (setpriv === undefined) throw new QemuError('setpriv was not found: install util-linux');
  return [
    setpriv,
    ...userArguments(),
    '--pdeathsig',
    'KILL',
    '--',
    '/bin/sh',
    '-c',
    START_UNLESS_ORPHAN,
    String(process.pid),
    qemu,
    ...args,
  ];
}

/** Returns QEMU's environment: PATH of the VMM and no other variable. */
function environment(): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], LANG: 'C.UTF-8' };
}
