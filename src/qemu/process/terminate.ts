import type { ChildProcess } from 'node:child_process';
import { createLog } from '../../util/log.ts';
import { QemuError } from './qemu-error.ts';
import type { Qmp } from '../qmp/connection.ts';

const log = createLog('qemu');

/** How long QEMU may take for each step, in milliseconds: together less than the 5 s within which a VM is shut down. */
export interface TerminationTimes {
  /** to answer `quit`: one that does not even do that hangs */
  readonly answer: number;
  /** to end after `quit`, with the writing out of its caches */
  readonly quit: number;
  /** to end after SIGKILL, which no process can ignore; one in an uninterruptible system call does */
  readonly kill: number;
}

const TIMES: TerminationTimes = { answer: 1500, quit: 2500, kill: 1500 };

type Child = Pick<ChildProcess, 'pid' | 'kill' | 'exitCode' | 'signalCode'>;

/** Kills QEMU and what it started: it leads a process group, in which a script in its place may have others. */
export function killGroup(child: Child): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // it leads no group yet
    child.kill('SIGKILL');
  }
}

interface Terminable {
  readonly child: Child;
  /** undefined: QEMU has not run yet and has nothing to write out */
  readonly qmp: Pick<Qmp, 'execute'> | undefined;
  readonly ended: Promise<unknown>;
  /** SIGKILL is its usual end, after `stop`: on `quit` QEMU would end the emulator of its TPM as well */
  readonly byKill?: boolean;
}

/**
 * Ends QEMU, whatever it does: by `quit` or `stop`, which write its caches out, else by SIGKILL. Rejects with QemuError where
 * even that fails.
 */
export async function terminate(
  { child, qmp, ended, byKill = false }: Terminable,
  times = TIMES,
): Promise<void> {
  if (qmp !== undefined && byKill) {
    const stopped = qmp.execute('stop').catch(() => undefined);
    await isWithin(Promise.race([stopped, ended]), times.quit);
  } else if (qmp !== undefined) {
    const problem = await endsByQuit(qmp, ended, times);
    if (problem === undefined) return;
    log.warn(`QEMU (pid ${child.pid}) ${problem}: it is killed`);
  }
  killGroup(child);
  if (await isWithin(ended, times.kill)) return;
  throw new QemuError(
    `QEMU (pid ${child.pid}) has not ended ${times.kill / 1000} s after SIGKILL: it is in an uninterruptible system call, ` +
      'e.g. on a disk that does not answer; what it has open stays in use until it ends',
  );
}

/** @returns why it did not end; undefined where it did */
async function endsByQuit(
  qmp: Pick<Qmp, 'execute'>,
  ended: Promise<unknown>,
  { answer, quit }: TerminationTimes,
): Promise<string | undefined> {
  const begun = performance.now();
  // an error is an answer, too: it comes where QEMU has ended
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
