import { closeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../../util/errno.ts';
import { migrationStatus } from './device-state.ts';
import { QemuError } from '../process/qemu-error.ts';
import { ANSWER_DEADLINE, shortestSeconds, watchProgress } from './progress-deadline.ts';
import type { Qemu } from '../process/qemu.ts';
import type { Qmp } from './connection.ts';

/** Passes over the RAM before the guest is stopped for the last one, as the original has it. */
const PASSES = 5;

/** Name of the connection's descriptor in QEMU. */
const NAME = 'move';

const CAPABILITIES = ['events', 'return-path'] as const;

/** How a migration ends. */
const ENDS: ReadonlySet<string> = new Set(['completed', 'failed', 'cancelled']);

/** How a machine is sent. */
export interface SendOptions {
  /** The guest runs on while its RAM is sent; else it is stopped first. */
  readonly live: boolean;
  /** ends it */
  readonly signal: AbortSignal;
  /** hears of each pass over the RAM */
  readonly onPass: (pass: number) => void;
}

/**
 * Sends a running machine over a connected socket, which is QEMU's then. The guest is stopped when this
 * returns, and runs again where it rejects with QemuError.
 */
export async function sendMachine(
  qemu: Qemu,
  fd: number,
  { live, signal, onPass }: SendOptions,
): Promise<void> {
  const { qmp } = qemu;
  const cancel = (): void => void qmp.execute('migrate_cancel').catch(() => undefined);
  signal.addEventListener('abort', cancel);
  const stopListening = qemu.onEvent((message) => {
    if (message.event !== 'MIGRATION_PASS') return;
    const { pass } = message.data;
    onPass(pass);
    // a guest that writes faster than the connection carries would never be there
    if (pass === PASSES) void qmp.execute('stop').catch(() => undefined);
  });
  try {
    await prepare(qemu, fd);
    if (!live) await qmp.execute('stop');
    // nothing holds it back: it is the guest that waits
    await qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
    await untilDone(qemu, () => qmp.execute('migrate', { uri: `fd:${NAME}` }), true);
    await settled(qmp);
  } catch (error) {
    await goOn(qemu);
    throw signal.aborted ? new QemuError('it was ended', undefined, { cause: error }) : error;
  } finally {
    stopListening();
    signal.removeEventListener('abort', cancel);
  }
}

/**
 * Lets a machine that was started to wait take another one's state and RAM from a connected socket, which is QEMU's then.
 * `ready` is called when QEMU reads. Rejects with QemuError.
 */
export async function receiveMachine(qemu: Qemu, fd: number): Promise<void> {
  await prepare(qemu, fd);
  await untilDone(qemu, () => qemu.qmp.execute('migrate-incoming', { uri: `fd:${NAME}` }));
}

/** The sender waits for the receiver's word; both tell how far they are. */
async function prepare({ qmp }: Qemu, fd: number): Promise<void> {
  try {
    await qmp.execute('getfd', { fdname: NAME }, [fd]);
  } finally {
    closeSync(fd);
  }
  await qmp.execute('migrate-set-capabilities', {
    capabilities: CAPABILITIES.map((capability) => ({ capability, state: true })),
  });
}

async function untilDone(qemu: Qemu, begin: () => Promise<unknown>, watches = false): Promise<void> {
  const { status, stop } = watchStatus(qemu, watches);
  try {
    await begin();
    const end = await status;
    if (end === 'completed') return;
    throw new QemuError((await migrationStatus(qemu)).error ?? `the migration was ${end}`);
  } catch (error) {
    if (error instanceof QemuError) throw error;
    const end = await Promise.race([qemu.ended, delay(GONE_MS, undefined, { ref: false })]);
    const reason = end === undefined ? reasonOf(error) : `QEMU ended: ${end.detail}`;
    throw new QemuError(reason, undefined, { cause: error });
  } finally {
    stop();
  }
}

/** How long a QEMU that no longer answers may take to be gone, in milliseconds. */
const GONE_MS = 2000;

/** With `watches`, a migration that makes no progress counts as failed: the other side or the network hangs. */
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
  // `begin` may fail first
  status.catch(() => undefined);
  return { status, stop };
}

function watchSending(qemu: Qemu, fail: (error: QemuError) => void): () => void {
  const readProgress = async (): Promise<string> => JSON.stringify(await migrationStatus(qemu));
  return watchProgress(readProgress, ANSWER_DEADLINE, () => {
    void qemu.qmp.execute('migrate_cancel').catch(() => undefined);
    fail(new QemuError(`nothing was sent for ${shortestSeconds(ANSWER_DEADLINE)} s: the other side hangs`));
  });
}

/** How often QEMU is asked whether it is out of a migration, in milliseconds. */
const ASK_MS = 2;

/** How long it may take for that, in milliseconds. */
const SETTLED_MS = 10_000;

/** The event comes a moment before QEMU takes commands that start or stop the machine again. */
async function settled(qmp: Qmp): Promise<void> {
  const end = performance.now() + SETTLED_MS;
  while (performance.now() < end) {
    const { status } = await qmp.execute('query-status');
    if (status !== 'finish-migrate') return;
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
  }
}

/** Lets the guest run again after a failure; a QEMU that has ended is told of elsewhere. */
async function goOn({ qmp }: Qemu): Promise<void> {
  await settled(qmp)
    .then(() => qmp.execute('cont'))
    .catch(() => undefined);
}
