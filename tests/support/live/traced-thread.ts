/** A thread of a process that this one traces: no other process can control it. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { libc } from '../../../src/native/libc.ts';
import { detach, waitForStop } from '../../../src/native/thread-stops.ts';

/** Requests of ptrace(2) (linux/ptrace.h). */
const [SEIZE, INTERRUPT] = [0x4206, 0x4207];

/** Time limit of a stop, in milliseconds. */
const STOP_MS = 2000;

/** Interval at which the end of a traced thread is looked for, in milliseconds: its process ends only then. */
const POLL_MS = 5;

/** Returns the threads of a QEMU: those of vCPUs, and the others but the first. */
export function threadsOf(qemu: number): { readonly vcpus: number[]; readonly others: number[] } {
  const threads = readdirSync(`/proc/${qemu}/task`).map(Number);
  const isVcpu = (thread: number): boolean =>
    readFileSync(`/proc/${qemu}/task/${thread}/comm`, 'latin1').startsWith('CPU ');
  return {
    vcpus: threads.filter(isVcpu),
    others: threads.filter((thread) => thread !== qemu && !isVcpu(thread)),
  };
}

/** Returns the processes that trace threads of a QEMU. */
export function tracersOf(qemu: number): number[] {
  const { vcpus, others } = threadsOf(qemu);
  const tracers = [...vcpus, ...others].map((thread) => {
    const status = readFileSync(`/proc/${qemu}/task/${thread}/status`, 'latin1');
    return Number(/^TracerPid:\s*(\d+)/m.exec(status)?.[1]);
  });
  return tracers.filter((pid) => pid !== 0);
}

/** Traces a thread, which goes on, until the disposal. `loadLibc` must have settled. */
export function traceThread(thread: number): Disposable {
  assert.equal(libc().ptrace(SEIZE, thread, 0, 0), 0, `thread ${thread} cannot be traced`);
  let isGone = false;
  const timer = setInterval(() => {
    try {
      waitForStop(thread, 0);
    } catch {
      isGone = true;
      clearInterval(timer);
    }
  }, POLL_MS);
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      if (!isGone) release(thread);
    },
  };
}

/** Lets a thread go, if its process has not ended. */
function release(thread: number): void {
  if (libc().ptrace(INTERRUPT, thread, 0, 0) !== 0) return;
  try {
    waitForStop(thread, performance.now() + STOP_MS);
  } finally {
    detach(thread);
  }
}
