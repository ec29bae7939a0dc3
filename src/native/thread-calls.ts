import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { libc, loadLibc } from './libc.ts';
import { allocate } from './memory.ts';
import { readProcess } from './process-copy.ts';
import { callError, checked, EINTR, errno } from './system-error.ts';

/*
 * System calls in a thread of a child process, by ptrace(2): for changes to its address space that no call makes from outside.
 *
 * The thread is stopped, its registers are saved, and an instruction `syscall` of the process's vDSO is run with those of each call.
 * Then the thread has its registers again; a call that the stop has interrupted is made again, as the kernel does after a signal.
 *
 * Invariants: the thread is not the first of its process, as waitpid(2) would take the exit of the process from Node. All signals are
 * blocked while its registers are others. All requests are made by the main thread, without a turn of the event loop between.
 */

/** Requests of ptrace(2) (linux/ptrace.h). */
const REQUEST = {
  getRegisters: 12,
  setRegisters: 13,
  detach: 17,
  runToSystemCall: 24,
  seize: 0x4206,
  interrupt: 0x4207,
  getSignalMask: 0x420a,
  setSignalMask: 0x420b,
} as const;

/** PTRACE_O_TRACESYSGOOD: a stop at a system call is distinct from SIGTRAP. */
const MARK_SYSTEM_CALLS = 1;
const SYSTEM_CALL_STOP = constants.signals.SIGTRAP | 0x80;

/** __WALL of waitpid(2) */
const ANY_THREAD = 0x4000_0000;

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
  whileStopped(thread, () => undefined);
  return { pid, thread, syscall };
}

/**
 * Makes system calls in a thread, which is stopped meanwhile. It must be one that waits, e.g. that of a vCPU of a stopped machine.
 * @throws the error of `act`, and the system's error where the process has ended
 */
export function callInThread<T>({ thread, syscall }: RemoteThread, act: (calls: RemoteCalls) => T): T {
  return whileStopped(thread, () => {
    const block = allocate(REGISTERS_BYTES + SIGNALS_BYTES);
    const mask = block.address + REGISTERS_BYTES;
    const registers = new BigInt64Array(block.view.buffer, 0, REGISTERS_BYTES / 8);
    const request = (number: number, address: number, data: number): void =>
      void checked('ptrace', libc().ptrace(number, thread, address, data));
    try {
      request(REQUEST.getRegisters, 0, block.address);
      request(REQUEST.getSignalMask, SIGNALS_BYTES, mask);
      const [saved, signals] = [registers.slice(), block.view.getBigUint64(REGISTERS_BYTES, true)];
      block.view.setBigUint64(REGISTERS_BYTES, ALL_SIGNALS, true);
      request(REQUEST.setSignalMask, SIGNALS_BYTES, mask);
      try {
        return act({
          scratch: Number(saved[REGISTER.stack] ?? 0n) - SCRATCH_BYTES,
          call: (name, number, args) => {
            registers.set(registersOfCall(saved, { number, args, syscall }));
            request(REQUEST.setRegisters, 0, block.address);
            // its entry and its end
            for (let i = 0; i < 2; i++) {
              request(REQUEST.runToSystemCall, 0, 0);
              waitForSystemCall(thread);
            }
            request(REQUEST.getRegisters, 0, block.address);
            const result = Number(registers[REGISTER.result]);
            if (result < 0 && result > -ERRORS) throw callError(name, -result);
            return result;
          },
        });
      } finally {
        registers.set(registersToContinue(saved));
        request(REQUEST.setRegisters, 0, block.address);
        block.view.setBigUint64(REGISTERS_BYTES, signals, true);
        request(REQUEST.setSignalMask, SIGNALS_BYTES, mask);
      }
    } finally {
      block.free();
    }
  });
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

/** Runs `act` while a thread is stopped. */
function whileStopped<T>(thread: number, act: () => T): T {
  const { ptrace } = libc();
  checked('ptrace', ptrace(REQUEST.seize, thread, 0, MARK_SYSTEM_CALLS));
  checked('ptrace', ptrace(REQUEST.interrupt, thread, 0, 0));
  waitForStop(thread);
  try {
    return act();
  } finally {
    // the thread of a process that was killed has ended
    ptrace(REQUEST.detach, thread, 0, 0);
  }
}

/** Most other stops before that at a system call. */
const STOPS_MAX = 16;

function waitForSystemCall(thread: number): void {
  for (let i = 0; i < STOPS_MAX; i++) {
    if (waitForStop(thread) === SYSTEM_CALL_STOP) return;
    checked('ptrace', libc().ptrace(REQUEST.runToSystemCall, thread, 0, 0));
  }
  throw new Error(`thread ${thread} does not make a system call`);
}

/** Waits until a thread has stopped, which the kernel does at once. @returns the signal */
function waitForStop(thread: number): number {
  const status = new Int32Array(1);
  while (libc().waitpid(thread, status, ANY_THREAD) < 0) {
    const reason = errno();
    if (reason !== EINTR) throw callError('waitpid', reason);
  }
  const [bits = 0] = status;
  if ((bits & 0xff) !== STOPPED) throw new Error(`thread ${thread} has ended`);
  return (bits >> 8) & 0xff;
}

/** Low bits of a status of waitpid(2). */
const STOPPED = 0x7f;

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
