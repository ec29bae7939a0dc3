import type { SpawnedProcess } from '../../native/spawn-process.ts';
import { createLog } from '../../util/log.ts';
import { QemuError } from './qemu-error.ts';
import type { Qmp } from '../qmp/connection.ts';

const log = createLog('qemu');

/** Deadlines of the steps, in milliseconds. Their sum is below 5 s, the limit for shutting down a VM. */
export interface TerminationTimes {
  /** for the answer to `quit`: a QEMU that does not answer hangs */
  readonly answer: number;
  /** for the exit after `quit`; QEMU writes its caches out meanwhile */
  readonly quit: number;
  /** for the exit after SIGKILL; only an uninterruptible system call delays it */
  readonly kill: number;
}

const TIMES: TerminationTimes = { answer: 1500, quit: 2500, kill: 1500 };

type Child = Pick<SpawnedProcess, 'pid' | 'status'>;

/** Kills QEMU's process group: a script in place of QEMU may have started more processes. */
export function killGroup({ pid, status }: Child): void {
  if (status() !== undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // it has exited, and is not reaped yet
  }
}

interface Terminable {
  readonly child: Child;
  /** undefined: QEMU has not run yet and has no data to write out */
  readonly qmp: Pick<Qmp, 'execute'> | undefined;
  readonly ended: Promise<unknown>;
  /** ends it by `stop` and SIGKILL: at `quit` QEMU would also end the emulator of its TPM */
  readonly byKill?: boolean;
}

/**
 * Ends QEMU: by `quit` or `stop`, which write its caches out, else by SIGKILL.
 * Rejects with QemuError if it does not exit after SIGKILL.
 */
export async function terminate(
  { child, qmp, ended, byKill = false }: Terminable,
  times = TIMES,
): Promise<void> {
  if (qmp !== undefined && byKill) {
    const stopped = qmp.execute('stop').catch(() => undefined);
    await isWithin(Promise.race([stopped, ended]), times.quit);
  } else if (qmp !== undefined) {
    const problem = await quitQemu(qmp, ended, times);
    if (problem === undefined) return;
    log.warn(`QEMU (pid ${child.pid}) ${problem}: it is killed`);
  }
  killGroup(child);
  if (await isWithin(ended, times.kill)) return;
  throw new QemuError(
    `QEMU (pid ${child.pid}) has not ended ${times.kill / 1000} s after SIGKILL: it is in an uninterruptible system call, ` +
      'e.g. on a disk that does not answer; its open files stay in use until it exits',
  );
}

/** Asks QEMU to exit. @returns the problem; undefined if it has exited */
async function quitQemu(
  qmp: Pick<Qmp, 'execute'>,
  ended: Promise<unknown>,
  { answer, quit }: TerminationTimes,
): Promise<string | undefined> {
  const begun = performance.now();
  // an error is an answer as well: QEMU has exited
  const answered = qmp.execute('quit').catch(() => undefined);
  if (!(await isWithin(Promise.race([answered, ended]), answer))) {
    return `did not answer quit within ${answer / 1000} s`;
  }
  const left = quit - (performance.now() - begun);
  return (await isWithin(ended, left)) ? undefined : `did not end within ${quit / 1000} s of quit`;
}

async function isWithin(event: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([event.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
