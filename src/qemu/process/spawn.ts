import { closeSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { requireProgramDescriptors } from '../../util/free-descriptors.ts';
import { createLog } from '../../util/log.ts';
import { withoutHugePages } from '../../native/huge-pages.ts';
import { loadLibc } from '../../native/libc.ts';
import { spawnProcess, type SpawnedProcess } from '../../native/spawn-process.ts';
import { enlargeSendBuffer, openSocketPair } from '../../native/unix-socket.ts';
import { findProgram, programProblem } from './program.ts';
import { replacedLibraries } from './replaced-libraries.ts';
import { qemuUser, userArguments } from './confinement.ts';
import { findLauncher } from './launcher.ts';
import { FIRST_DESCRIPTOR, type Descriptor } from './descriptors.ts';
import { QemuError } from './qemu-error.ts';

const log = createLog('qemu');

/** QEMU's process. */
export interface QemuProcess extends SpawnedProcess {
  /** the VMM's ends of standard error and of further streams, by their number in QEMU */
  readonly streams: ReadonlyMap<number, Duplex>;
}

/**
 * Starts QEMU's process with its descriptors from 3 on. `ends` are those that the VMM has opened for it. Without `hugePages` it gets no
 * transparent huge pages.
 * Rejects with QemuError if the host cannot start it (no program, descriptors or memory), and leaves no descriptor open.
 */
export async function spawnQemu(
  args: readonly string[],
  descriptors: readonly Descriptor[],
  ends: ReadonlyMap<Descriptor, number>,
  hugePages: boolean,
): Promise<QemuProcess> {
  const words = commandLine(args);
  const inherited = descriptors.map((one) => {
    if (one.use === 'given' || one.use === 'inherited') return one.fd;
    return ends.get(one);
  });
  log.debug(`starting ${words.map((word) => JSON.stringify(word)).join(' ')}`);
  await loadLibc();
  const start = (): QemuProcess => spawnWithStreams(words, inherited);
  return hugePages ? start() : (await withoutHugePages())(start);
}

/** Starts a process. It gets a stream for each descriptor that is undefined, and for standard error. @throws QemuError */
function spawnWithStreams(
  [path, ...args]: readonly [string, ...string[]],
  inherited: readonly (number | undefined)[],
): QemuProcess {
  const own = new Map<number, number>();
  const theirs: number[] = [];
  const openStream = (number: number): number => {
    const [mine, other] = openSocketPair();
    own.set(number, mine);
    theirs.push(other);
    // a firmware reports an error where its characters are not sent at once
    enlargeSendBuffer(other);
    return other;
  };
  try {
    requireProgramDescriptors(inherited.length);
    const nothing = openSync('/dev/null', 'r+');
    theirs.push(nothing);
    const further = inherited.map((fd, i) => fd ?? openStream(FIRST_DESCRIPTOR + i));
    const descriptors = [nothing, nothing, openStream(STDERR), ...further];
    const child = spawnProcess({ path, args, env: environment(), descriptors });
    return { ...child, streams: new Map([...own].map(([number, fd]) => [number, new Socket({ fd })])) };
  } catch (error) {
    for (const fd of own.values()) closeSync(fd);
    throw startFailure(path, error);
  } finally {
    for (const fd of theirs) closeSync(fd);
  }
}

/** Number of standard error. */
const STDERR = 2;

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

/** Returns the VMM's side of a stream to QEMU. @throws QemuError */
export function streamOf({ streams }: QemuProcess, fd: number): Duplex {
  const stream = streams.get(fd);
  if (stream === undefined) throw new QemuError('QEMU could not be started');
  return stream;
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
  const pid = String(process.pid);
  const words = ['/bin/sh', '-c', START_UNLESS_ORPHAN, pid, qemu, ...args];
  // another user may not be able to read the launcher
  const launcher = qemuUser() === undefined ? findLauncher() : undefined;
  if (launcher !== undefined) return [launcher, pid, ...words];
  return [setpriv, ...userArguments(), '--pdeathsig', 'KILL', '--', ...words];
}

/** Returns QEMU's environment: PATH is the only variable of the VMM. */
function environment(): NodeJS.ProcessEnv {
  const libraries = replacedLibraries();
  const preload = libraries === undefined ? {} : { LD_PRELOAD: libraries };
  return { PATH: process.env['PATH'], LANG: 'C.UTF-8', ...preload };
}
