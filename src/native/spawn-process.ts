import { constants } from 'node:os';
import { libc } from './libc.ts';
import { SPAWN_BYTES } from './spawn-calls.ts';
import { callError, checked } from './system-error.ts';

/*
 * Processes by posix_spawn(3), which shares this process's memory with the new one until that runs its program. Node's own `spawn` calls
 * fork(2), which copies the page tables: 3 ms for a VMM that has restored a VM, during which the event loop is blocked.
 *
 * libuv does not know these processes. A handler of SIGCHLD calls waitpid(2) for each of them, and no other process.
 */

/** Program to be run. */
export interface Program {
  /** absolute path */
  readonly path: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** descriptors of this process that become 0, 1, 2 and so on; the caller closes its own */
  readonly descriptors: readonly number[];
}

/** Exit status as the kernel reports it. */
export interface ExitStatus {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process that was started. It keeps the event loop running until it exits. */
export interface SpawnedProcess {
  readonly pid: number;
  /** undefined while it runs: only until then is its ID that of no other process */
  readonly status: () => ExitStatus | undefined;
  /** Settles when it has exited. Never rejects. */
  readonly exited: Promise<ExitStatus>;
}

/** spawn.h */
const FLAGS = { signalDefaults: 0x04, signalMask: 0x08, session: 0x80 } as const;
/** fcntl.h */
const F_DUPFD_CLOEXEC = 1030;
/** sys/wait.h */
const WNOHANG = 1;

/**
 * Starts a program in a session of its own, with the default action for each signal. Descriptors of this process that are not close-on-exec
 * are inherited as well. `loadLibc` must have settled.
 * @throws the system's error, e.g. ENOENT where there is no such program
 */
export function spawnProcess(program: Program): SpawnedProcess {
  followExits();
  try {
    return followed(spawn(program));
  } finally {
    stopIfIdle();
  }
}

function spawn({ path, args, env, descriptors }: Program): number {
  const words = [path, ...args];
  const variables = Object.entries(env).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${value}`],
  );
  // the C library would end the text there
  if ([...words, ...variables].some((text) => text.includes('\0')))
    throw new Error(`${path}: a word of its command line contains a zero byte`);
  const calls = libc().spawnCalls();
  const [actions, attributes, signals] = [newStruct(), newStruct(), newStruct()];
  const copies: number[] = [];
  refuse(calls.posix_spawn_file_actions_init(actions.address));
  refuse(calls.posix_spawnattr_init(attributes.address));
  try {
    for (const [to, fd] of descriptors.entries()) {
      const from = aboveAll(fd, descriptors.length, copies);
      refuse(calls.posix_spawn_file_actions_adddup2(actions.address, from, to));
    }
    calls.sigemptyset(signals.address);
    calls.posix_spawnattr_setsigmask(attributes.address, signals.address);
    calls.sigfillset(signals.address);
    calls.posix_spawnattr_setsigdefault(attributes.address, signals.address);
    const flags = FLAGS.signalDefaults | FLAGS.signalMask | FLAGS.session;
    calls.posix_spawnattr_setflags(attributes.address, flags);
    const pid = new Int32Array(1);
    refuse(
      calls.posix_spawn(
        pid,
        path,
        actions.address,
        attributes.address,
        [...words, null],
        [...variables, null],
      ),
    );
    return pid[0] ?? -1;
  } finally {
    for (const fd of copies) libc().close(fd);
    calls.posix_spawnattr_destroy(attributes.address);
    calls.posix_spawn_file_actions_destroy(actions.address);
  }
}

/** A struct of the C library; the bytes must stay referenced while it is used. */
interface Struct {
  readonly bytes: Buffer;
  readonly address: number;
}

function newStruct(): Struct {
  const bytes = Buffer.alloc(SPAWN_BYTES);
  return { bytes, address: libc().addressOf(bytes) };
}

/** @throws the system's error unless the result of a call of posix_spawn is 0 */
function refuse(result: number): void {
  if (result !== 0) throw callError('spawn', result);
}

/** Returns a descriptor, or a copy of it, that is none of the numbers in the new process: they replace one another in order. */
function aboveAll(fd: number, count: number, copies: number[]): number {
  if (fd >= count) return fd;
  const copy = checked('fcntl', libc().fcntl(fd, F_DUPFD_CLOEXEC, 'int', count));
  copies.push(copy);
  return copy;
}

/** Processes that run, and what settles their promise. */
const running = new Map<number, (status: ExitStatus) => void>();

/** Keeps the event loop running. */
let hold: NodeJS.Timeout | undefined;

/** Begins to follow the exits of processes. Must be called before the start of one, which may exit at once. */
function followExits(): void {
  if (hold !== undefined) return;
  hold = setInterval(() => undefined, 2 ** 30);
  process.on('SIGCHLD', reapAll);
}

function stopIfIdle(): void {
  if (running.size > 0) return;
  clearInterval(hold);
  hold = undefined;
  process.off('SIGCHLD', reapAll);
}

function followed(pid: number): SpawnedProcess {
  let status: ExitStatus | undefined;
  const exited = new Promise<ExitStatus>((resolve) => {
    running.set(pid, (found) => {
      status = found;
      resolve(found);
    });
  });
  return { pid, status: () => status, exited };
}

function reapAll(): void {
  for (const [pid, settle] of running) {
    const status = statusOf(pid);
    if (status === undefined) continue;
    running.delete(pid);
    settle(status);
  }
  stopIfIdle();
}

/** Reads the status of a process that has exited, whose ID the kernel may then use again; undefined while it runs. */
function statusOf(pid: number): ExitStatus | undefined {
  const status = new Int32Array(1);
  if (libc().spawnCalls().waitpid(pid, status, WNOHANG) === 0) return undefined;
  const [word = 0] = status;
  const signal = word & 0x7f;
  return signal === 0 ? { code: (word >> 8) & 0xff, signal: null } : { code: null, signal: nameOf(signal) };
}

function nameOf(signal: number): NodeJS.Signals | null {
  const names = Object.keys(constants.signals).filter(isSignal);
  return names.find((name) => constants.signals[name] === signal) ?? null;
}

function isSignal(name: string): name is NodeJS.Signals {
  return name in constants.signals;
}
