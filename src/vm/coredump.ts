import { open, rm, type FileHandle } from 'node:fs/promises';
import { ApiError } from '../api/errors.ts';
import { ANSWER_DEADLINE, shortestSeconds, watchProgress } from '../qemu/qmp/progress-deadline.ts';
import { reasonOf } from '../util/errno.ts';
import { beforeDeadline } from '../util/path-deadline.ts';
import type { RunningOperation } from '../util/operation-tracker.ts';
import { onAbort } from '../util/shutdown-signals.ts';
import { openRelay } from '../host/files/relay.ts';
import type { Machine } from './machine.ts';
import type { BootedMachine } from './vm.ts';
import { pathOf } from './snapshot/url-path.ts';
import { closeInBackground, inBackground } from '../util/background.ts';
import { closeRemoved } from '../util/close-file.ts';

/** Interval in which the size of a dump is read for the client, in milliseconds. */
const TOTAL_MS = 200;

/** QEMU's name of the file descriptor that it writes to. */
const FILE = 'coredump';

/**
 * Writes the guest's RAM and the vCPUs' registers into a new ELF file. The vCPUs are stopped meanwhile.
 * Rejects with ApiError naming the path; no file is left then.
 */
export async function dumpCore(
  { machine }: BootedMachine,
  url: string,
  { kill, tracker }: RunningOperation,
): Promise<void> {
  const path = pathOf(url, 'file');
  // an existing file is not overwritten
  const create = (): Promise<FileHandle> => open(path, 'wx', 0o600);
  const file = await beforeDeadline(path, create, { onLate: closeInBackground }).catch((error: unknown) => {
    throw failure(path, error);
  });
  try {
    if (tracker.isTracked) await dumpThroughRelay(machine, file, { kill, tracker });
    else await dumpTo(machine, file.fd);
  } catch (error) {
    await rm(path, { force: true });
    await closeRemoved(file);
    throw failure(path, error);
  }
  await file.close();
}

async function dumpTo(machine: Machine, fd: number): Promise<void> {
  await machine.qemu.qmp.execute('getfd', { fdname: FILE }, [fd]);
  await writeDump(machine);
}

/** Dumps through the VMM: QEMU has no command that cancels a dump, but its write to a closed socket fails. */
async function dumpThroughRelay(
  machine: Machine,
  file: FileHandle,
  { kill, tracker }: Pick<RunningOperation, 'kill' | 'tracker'>,
): Promise<void> {
  const amount = { done: 0, total: 0 };
  tracker.enter('writing memory', amount);
  kill.throwIfAborted();
  await using relay = await openRelay(file, (bytes) => (amount.done += bytes));
  const stopListening = onAbort(kill, relay.cut);
  const readTotal = async (): Promise<void> => {
    amount.total = (await machine.qemu.qmp.execute('query-dump')).total;
  };
  const timer = setInterval(() => inBackground('progress of the dump', readTotal()), TOTAL_MS);
  try {
    const dumped = dumpTo(machine, relay.fd).finally(relay.closeSource);
    const [copy, dump] = await Promise.allSettled([relay.copied, dumped]);
    // a failed copy has cut the relay, and so is the reason of the failed dump
    if (copy.status === 'rejected') throw copy.reason;
    if (dump.status === 'rejected') throw dump.reason;
    tracker.commit('The core dump is complete');
  } finally {
    stopListening();
    clearInterval(timer);
  }
}

/** Starts a dump and waits for QEMU's event of its completion: it may take longer than the time limit of an answer. */
async function writeDump({ qemu }: Machine): Promise<void> {
  let forget = (): void => undefined;
  let stopWatch = (): void => undefined;
  const done = new Promise<string | undefined>((resolve) => {
    const readProgress = async (): Promise<string> => JSON.stringify(await qemu.qmp.execute('query-dump'));
    stopWatch = watchProgress(readProgress, ANSWER_DEADLINE, () =>
      resolve(`QEMU wrote nothing for ${shortestSeconds(ANSWER_DEADLINE)} s`),
    );
    forget = qemu.onEvent((message) => {
      if (message.event !== 'DUMP_COMPLETED') return;
      const { result, error } = message.data;
      const isWhole = result.status === 'completed';
      resolve(isWhole ? undefined : `QEMU could not write it: ${JSON.stringify(error)}`);
    });
    qemu.ended.then(
      ({ detail }) => resolve(`QEMU ended: ${detail}`),
      (error: unknown) => resolve(reasonOf(error)),
    );
  });
  try {
    await qemu.qmp.execute('dump-guest-memory', { paging: false, protocol: `fd:${FILE}`, detach: true });
    const problem = await done;
    if (problem !== undefined) throw new Error(problem);
  } finally {
    stopWatch();
    forget();
  }
}

function failure(path: string, error: unknown): ApiError {
  const message = `${path}: the guest’s memory could not be written: ${reasonOf(error)}`;
  return new ApiError('failed', message, { cause: error });
}
