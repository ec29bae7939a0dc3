import { readFile } from 'node:fs/promises';
import { loadLibc } from '../../native/libc.ts';
import { errno } from '../../native/system-error.ts';

/** Bits of the mask for sched_setaffinity(2): more than Linux supports processors. */
const MASK_BITS = 8192;

/**
 * Returns those of the requested processors that this process, and so QEMU, may use.
 * @throws where there is none
 */
export async function usableProcessors(requested: readonly number[]): Promise<number[]> {
  const allowed = await allowedProcessors();
  const usable = requested.filter((one) => allowed.includes(one));
  if (usable.length > 0) return usable;
  throw new Error(
    `the host has no processor ${requested.join(', ')} to run it on (it has ${allowed.join(', ')})`,
  );
}

/** Binds a thread, by its number on the host, to processors. Rejects where the kernel refuses. */
export async function pinThread(thread: number, processors: readonly number[]): Promise<void> {
  const { sched_setaffinity } = await loadLibc();
  const mask = Buffer.alloc(MASK_BITS / 8);
  for (const one of processors) mask[one >> 3] = (mask[one >> 3] ?? 0) | (1 << (one & 7));
  const result = sched_setaffinity(thread, mask.length, mask);
  if (result !== 0) throw new Error(`sched_setaffinity failed (errno ${errno()})`);
}

/** Returns the processors that `taskset`, a cgroup and the hardware allow. */
function allowedProcessors(): Promise<number[]> {
  return processorsIn('self');
}

/** Returns the processors that a process or thread may use. Rejects if it has ended. */
export async function processorsIn(thread: number | 'self'): Promise<number[]> {
  const status = await readFile(`/proc/${thread}/status`, 'utf8');
  const [, list = '0'] = /^Cpus_allowed_list:\s*(\S+)/m.exec(status) ?? [];
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}
