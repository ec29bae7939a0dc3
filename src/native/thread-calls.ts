import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { libc, loadLibc } from './libc.ts';
import { allocate } from './memory.ts';
import { readProcess } from './process-copy.ts';
import { callError, checked } from './system-error.ts';
import { checkStops, detach, releaseLater, STOP_LIMIT_MS, stopThread, waitForStop } from './thread-stops.ts';

/*
 * System calls in a thread of a child process, by ptrace(2): for changes to its address space that no call makes from outside.
 *
 * The thread is stopped (`thread-stops.ts`), its registers are saved, and an instruction `syscall` of the process's vDSO is run with those
 * of each call. Then the thread has its registers again; a call that the stop has interrupted is made again, as the kernel does after
 * a signal. A call that does not end in time is left to the thread, which gets its registers when the call ends.
 *
 * Invariants: the thread is not the first of its process, as waitpid(2) would take the exit of the process from Node. All signals are
 * blocked while its registers are others. All requests are made by the main thread, and those of a `callInThread` without a turn of the
 * event loop between, except after an unfinished call.
 */

/** Requests of ptrace(2) (linux/ptrace.h). */
const REQUEST = {
  getRegisters: 12,
  setRegisters: 13,
  runToSystemCall: 24,
  getSignalMask: 0x420a,
  setSignalMask: 0x420b,
} as const;

const SYSTEM_CALL_STOP = constants.signals.SIGTRAP | 0x80;

/** `struct user_regs_struct` of x86-64, as 64-bit words; the first six of `arguments` are those of a system call. */
const REGISTERS_BYTES = 216;
const REGISTER = { result: 10, number: 15, instruction: 16, stack: 19 } as const;
const ARGUMENTS = [14, 13, 12, 7, 9, 8] as const;

const SIGNALS_BYTES = 8;
const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn;

/** Results of an interrupted call, which the kernel makes again (linux/errno.h). */
const RESTARTS: readonly bigint[] = [-512n, -513n, -514n];
const RESTARTS_BLOCK = -516n;
/** restart_syscall(2) */
const RESTART_CALL = 219n;

/** The instruction `syscall`. */
const SYSCALL = Buffer.from([0x0f, 0x05]);

/** A thread in which system calls can be made. */
export interface RemoteThread {
  readonly pid: number;
  readonly thread: number;
  /** address of an instruction `syscall` */
  readonly syscall: number;
}

/** System calls in a stopped thread. */
export interface RemoteCalls {
  /** Makes a call. @returns its result. @throws the system's error, named `name` */
  readonly call: (name: string, number: number, args: readonly number[]) => number;
  /** address of unused stack of the thread, of which the kernel may read or write a page */
  readonly scratch: number;
}

/**
 * Prepares calls in a thread of a child process. Checks that this process may control it.
 * Rejects with the system's error, e.g. EPERM; on other processors than x86-64 with an Error.
 */
export async function remoteThread(pid: number, thread: number): Promise<RemoteThread> {
  if (process.arch !== 'x64') throw new Error(`system calls in another process: not on ${process.arch}`);
  if (pid === thread) throw new Error('the first thread of a process is not stopped');
  await loadLibc();
  const syscall = await findSyscall(pid);
  await checkStops(thread);
  return { pid, thread, syscall };
}

/** A system call in another process has not ended in time. It may still take effect. */
export class UnfinishedCallError extends Error {
  override readonly name = 'UnfinishedCallError';

  constructor(name: string, thread: number) {
    super(`${name} in thread ${thread} has not ended within ${STOP_LIMIT_MS / 1000} s`);
  }
}

/** Processes with a call that has not ended, by thread. */
const unfinished = new Map<number, number>();

/** Returns whether a system call in a process has not ended: its address space may still change. */
export function hasUnfinishedCalls(pid: number): boolean {
  return [...unfinished.values()].includes(pid);
}

/**
 * Makes system calls in a thread, which is stopped meanwhile. It must be one that waits, e.g. that of a vCPU of a stopped machine.
 * @throws the error of `act`, and the system's error where the process has ended; ThreadDeadlineError, when nothing has changed, or
 * UnfinishedCallError after a second
 */
export function callInThread<T>({ pid, thread, syscall }: RemoteThread, act: (calls: RemoteCalls) => T): T {
  const deadline = performance.now() + STOP_LIMIT_MS;
  stopThread(thread, deadline);
  const frame = saveFrame(thread);
  let isUnfinished = false;
  const call: RemoteCalls['call'] = (name, number, args) => {
    if (isUnfinished) throw new UnfinishedCallError(name, thread);
    frame.set(registersOfCall(frame.saved, { number, args, syscall }));
    // its entry and its end
    for (let i = 0; i < 2; i++) {
      isUnfinished = !runToSystemCall(thread, deadline);
      if (isUnfinished) throw new UnfinishedCallError(name, thread);
    }
    const result = frame.result();
    if (result < 0 && result > -ERRORS) throw callError(name, -result);
    return result;
  };
  try {
    return act({ call, scratch: Number(frame.saved[REGISTER.stack] ?? 0n) - SCRATCH_BYTES });
  } finally {
    if (isUnfinished) {
      unfinished.set(thread, pid);
      releaseLater(thread, () => {
        unfinished.delete(thread);
        frame.release();
      });
    } else {
      frame.release();
    }
  }
}

/** Registers of a stopped thread. */
interface Frame {
  /** those with which it was stopped */
  readonly saved: BigInt64Array;
  readonly set: (registers: BigInt64Array) => void;
  /** Returns the result of a system call that is complete. */
  readonly result: () => number;
  /** Lets the thread continue where it was stopped. To be called once. @throws the system's error if it has ended */
  readonly release: () => void;
}

/** Saves the registers of a stopped thread, and blocks its signals. If it throws, the thread continues. */
function saveFrame(thread: number): Frame {
  const block = allocate(REGISTERS_BYTES + SIGNALS_BYTES);
  const mask = block.address + REGISTERS_BYTES;
  const registers = new BigInt64Array(block.view.buffer, 0, REGISTERS_BYTES / 8);
  const request = (number: number, address: number, data: number): void =>
    void checked('ptrace', libc().ptrace(number, thread, address, data));
  const set = (values: BigInt64Array): void => {
    registers.set(values);
    request(REQUEST.setRegisters, 0, block.address);
  };
  const setMask = (signals: bigint): void => {
    block.view.setBigUint64(REGISTERS_BYTES, signals, true);
    request(REQUEST.setSignalMask, SIGNALS_BYTES, mask);
  };
  const end = (): void => {
    detach(thread);
    block.free();
  };
  try {
    request(REQUEST.getRegisters, 0, block.address);
    request(REQUEST.getSignalMask, SIGNALS_BYTES, mask);
    const [saved, signals] = [registers.slice(), block.view.getBigUint64(REGISTERS_BYTES, true)];
    setMask(ALL_SIGNALS);
    return {
      saved,
      set,
      result: () => {
        request(REQUEST.getRegisters, 0, block.address);
        return Number(registers[REGISTER.result]);
      },
      release: () => {
        try {
          set(registersToContinue(saved));
          setMask(signals);
        } finally {
          end();
        }
      },
    };
  } catch (error) {
    end();
    throw error;
  }
}

/** Below the part of the stack that code may use without a reservation, in `bytes`. */
const SCRATCH_BYTES = 8192;

/** Negative results of calls above are numbers of errors. */
const ERRORS = 4096;

function registersOfCall(
  saved: BigInt64Array,
  {
    number,
    args,
    syscall,
  }: { readonly number: number; readonly args: readonly number[]; readonly syscall: number },
): BigInt64Array {
  const registers = saved.slice();
  registers[REGISTER.result] = BigInt(number);
  registers[REGISTER.number] = -1n;
  registers[REGISTER.instruction] = BigInt(syscall);
  for (const [i, register] of ARGUMENTS.entries()) registers[register] = BigInt(args[i] ?? 0);
  return registers;
}

/** Returns the registers with which a thread continues: an interrupted call is made again. */
export function registersToContinue(saved: BigInt64Array): BigInt64Array {
  const registers = saved.slice();
  const [result = 0n, number = -1n] = [saved[REGISTER.result], saved[REGISTER.number]];
  if (number < 0n) return registers;
  const isBlock = result === RESTARTS_BLOCK;
  if (isBlock || RESTARTS.includes(result)) {
    registers[REGISTER.result] = isBlock ? RESTART_CALL : number;
    registers[REGISTER.instruction] = (saved[REGISTER.instruction] ?? 0n) - BigInt(SYSCALL.length);
  }
  // the kernel does not do it again
  registers[REGISTER.number] = -1n;
  return registers;
}

/** Most other stops before that at a system call. */
const STOPS_MAX = 16;

/** Lets a stopped thread run until its next system call begins or ends. @returns false after the deadline: it runs still */
function runToSystemCall(thread: number, deadline: number): boolean {
  for (let i = 0; i < STOPS_MAX; i++) {
    checked('ptrace', libc().ptrace(REQUEST.runToSystemCall, thread, 0, 0));
    const signal = waitForStop(thread, deadline);
    if (signal === undefined) return false;
    if (signal === SYSTEM_CALL_STOP) return true;
  }
  throw new Error(`thread ${thread} does not make a system call`);
}

/** Returns the address of an instruction `syscall` in the code that the kernel maps into each process. */
async function findSyscall(pid: number): Promise<number> {
  const maps = await readFile(`/proc/${pid}/maps`, 'latin1');
  const [, from = '', to = ''] = /^([0-9a-f]+)-([0-9a-f]+) .*\[vdso\]$/m.exec(maps) ?? [];
  const start = Number.parseInt(from, 16);
  const code = Buffer.alloc(Number.parseInt(to, 16) - start || 0);
  readProcess(pid, [{ address: start, length: code.length }], code);
  const at = code.indexOf(SYSCALL);
  if (at === -1) throw new Error(`process ${pid}: no system call instruction is known`);
  return start + at;
}
