import { closeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../../util/errno.ts';
import { migrationStatus } from './device-state.ts';
import { QemuError } from '../process/qemu-error.ts';
import { ANSWER_DEADLINE, shortestSeconds, watchProgress } from './progress-deadline.ts';
import type { Qemu } from '../process/qemu.ts';
import type { Qmp } from './connection.ts';

/** Passes over the RAM before the guest is stopped for the last one, as in Cloud Hypervisor. */
const PASSES = 5;

/** Name in QEMU of the connection's file descriptor. */
const NAME = 'move';

const CAPABILITIES = ['events', 'return-path'] as const;

/**
 * QEMU waits before the switchover: the guest is stopped, and the destination has no state of a device yet. Until then a migration can
 * be cancelled. Afterwards the destination may already run the guest.
 */
const SWITCHOVER = { capability: 'pause-before-switchover', status: 'pre-switchover' } as const;

/** Final states of a migration. */
const ENDS: ReadonlySet<string> = new Set(['completed', 'failed', 'cancelled']);

/** Options of an outgoing migration. */
export interface SendOptions {
  /** the guest runs while its RAM is sent; else it is stopped first */
  readonly live: boolean;
  /** cancels the migration before the switchover */
  readonly signal: AbortSignal;
  /** called before the switchover, which it prevents if it throws */
  readonly commit: () => void;
  /** called at each pass over the RAM */
  readonly onPass: (pass: number) => void;
}

/**
 * Migrates a running machine over a connected socket, which it takes over. Afterwards the guest is stopped.
 * Rejects with QemuError, and then the guest runs again.
 */
export async function sendMachine(
  qemu: Qemu,
  fd: number,
  { live, signal, commit, onPass }: SendOptions,
): Promise<void> {
  const { qmp } = qemu;
  let isCommitted = false;
  const cancel = (): void => {
    if (!isCommitted) void qmp.execute('migrate_cancel').catch(() => undefined);
  };
  const switchOver = (): void => {
    try {
      signal.throwIfAborted();
      commit();
    } catch {
      return cancel();
    }
    isCommitted = true;
    // a QEMU that does not answer has ended, or has no progress: both end the migration
    void qmp.execute('migrate-continue', { state: SWITCHOVER.status }).catch(() => undefined);
  };
  signal.addEventListener('abort', cancel);
  const stopListening = qemu.onEvent((message) => {
    if (message.event === 'MIGRATION' && message.data.status === SWITCHOVER.status) switchOver();
    if (message.event !== 'MIGRATION_PASS') return;
    const { pass } = message.data;
    onPass(pass);
    // the migration of a guest that writes faster than the connection sends would never complete
    if (pass === PASSES) void qmp.execute('stop').catch(() => undefined);
  });
  try {
    await prepare(qemu, fd, [...CAPABILITIES, SWITCHOVER.capability]);
    signal.throwIfAborted();
    if (!live) await qmp.execute('stop');
    // no limit: the guest waits
    await qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
    const start = async (): Promise<void> => {
      await qmp.execute('migrate', { uri: `fd:${NAME}` });
      // QEMU ignores a cancellation that precedes the migration
      if (signal.aborted) cancel();
    };
    await runMigration(qemu, start, true);
    await untilMigrationEnds(qmp);
  } catch (error) {
    await resumeGuest(qemu);
    throw signal.aborted ? new QemuError('it was ended', undefined, { cause: error }) : error;
  } finally {
    stopListening();
    signal.removeEventListener('abort', cancel);
  }
}

/**
 * Receives the state and RAM of another machine over a connected socket, which it takes over. QEMU was started for an incoming
 * migration. Rejects with QemuError.
 */
export async function receiveMachine(qemu: Qemu, fd: number): Promise<void> {
  await prepare(qemu, fd);
  await runMigration(qemu, () => qemu.qmp.execute('migrate-incoming', { uri: `fd:${NAME}` }));
}

/** Passes the connection and enables capabilities: events, and an acknowledgement of the destination. */
async function prepare(
  { qmp }: Qemu,
  fd: number,
  enabled: readonly ((typeof CAPABILITIES)[number] | typeof SWITCHOVER.capability)[] = CAPABILITIES,
): Promise<void> {
  try {
    await qmp.execute('getfd', { fdname: NAME }, [fd]);
  } finally {
    closeSync(fd);
  }
  await qmp.execute('migrate-set-capabilities', {
    capabilities: enabled.map((capability) => ({ capability, state: true })),
  });
}

async function runMigration(qemu: Qemu, start: () => Promise<unknown>, watches = false): Promise<void> {
  const { status, stop } = watchStatus(qemu, watches);
  try {
    await start();
    const end = await status;
    if (end === 'completed') return;
    throw new QemuError((await migrationStatus(qemu)).error ?? `the migration was ${end}`);
  } catch (error) {
    if (error instanceof QemuError) throw error;
    const end = await Promise.race([qemu.ended, delay(EXIT_MS, undefined, { ref: false })]);
    const reason = end === undefined ? reasonOf(error) : `QEMU ended: ${end.detail}`;
    throw new QemuError(reason, undefined, { cause: error });
  } finally {
    stop();
  }
}

/** Time limit for the exit of a QEMU whose connection has closed, in milliseconds. */
const EXIT_MS = 2000;

/** Watches the events of a migration. With `watches`, a migration without progress fails: the destination or the network hangs. */
function watchStatus(
  qemu: Qemu,
  watches: boolean,
): { readonly status: Promise<string>; readonly stop: () => void } {
  let stop = (): void => undefined;
  const status = new Promise<string>((resolve, reject) => {
    const forget = qemu.onEvent((message) => {
      if (message.event === 'MIGRATION' && ENDS.has(message.data.status)) resolve(message.data.status);
    });
    const stopWatch = watches ? watchSending(qemu, reject) : (): void => undefined;
    stop = () => {
      forget();
      stopWatch();
    };
    qemu.ended.then(({ detail }) => reject(new QemuError(`QEMU ended: ${detail}`))).catch(reject);
  });
  // `start` may fail first
  status.catch(() => undefined);
  return { status, stop };
}

function watchSending(qemu: Qemu, fail: (error: QemuError) => void): () => void {
  const readProgress = async (): Promise<string> => JSON.stringify(await migrationStatus(qemu));
  return watchProgress(readProgress, ANSWER_DEADLINE, () => {
    void qemu.qmp.execute('migrate_cancel').catch(() => undefined);
    fail(new QemuError(`nothing was sent for ${shortestSeconds(ANSWER_DEADLINE)} s: the receiver hangs`));
  });
}

/** Interval and deadline of the polls for the end of a migration, in milliseconds. */
const POLL_MS = 2;

const END_MS = 10_000;

/** Waits for the end of a migration after its event: QEMU sends the event shortly before it accepts `cont` and `stop`. */
async function untilMigrationEnds(qmp: Qmp): Promise<void> {
  const end = performance.now() + END_MS;
  while (performance.now() < end) {
    const { status } = await qmp.execute('query-status');
    if (status !== 'finish-migrate') return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Resumes the guest after a failure. An exit of QEMU is reported elsewhere. */
async function resumeGuest({ qmp }: Qemu): Promise<void> {
  await untilMigrationEnds(qmp)
    .then(() => qmp.execute('cont'))
    .catch(() => undefined);
}
