import { closeSync } from 'node:fs';
import { migrationStatus } from './device-state.ts';
import { EngineError } from './engine-error.ts';
import type { Qemu } from './process.ts';
import type { Qmp } from './qmp.ts';

/** Passes over the RAM before the guest is stopped for the last one, as the original has it. */
const PASSES = 5;

/** Name of the connection's descriptor in QEMU. */
const NAME = 'move';

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
 * returns, and runs again where it rejects with EngineError.
 */
export async function sendMachine(
  qemu: Qemu,
  fd: number,
  { live, signal, onPass }: SendOptions,
): Promise<void> {
  const { qmp } = qemu;
  const cancel = (): void => void qmp.execute('migrate_cancel').catch(() => undefined);
  signal.addEventListener('abort', cancel);
  const stopListening = qemu.onEvent(({ event, data }) => {
    if (event !== 'MIGRATION_PASS') return;
    onPass(Number(data['pass']));
    // a guest that writes faster than the connection carries would never be there
    if (Number(data['pass']) === PASSES) void qmp.execute('stop').catch(() => undefined);
  });
  try {
    await prepare(qemu, fd);
    if (!live) await qmp.execute('stop');
    // nothing holds it back: it is the guest that waits
    await qmp.execute('migrate-set-parameters', { 'max-bandwidth': 0 });
    await untilDone(qemu, () => qmp.execute('migrate', { uri: `fd:${NAME}` }));
    await settled(qmp);
  } catch (error) {
    await goOn(qemu);
    throw signal.aborted ? new EngineError('it was ended') : error;
  } finally {
    stopListening();
    signal.removeEventListener('abort', cancel);
  }
}

/**
 * Lets a machine that was started to wait take another one's state and RAM from a connected socket, which is QEMU's then.
 * `ready` is called when QEMU reads. Rejects with EngineError.
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
    capabilities: ['events', 'return-path'].map((capability) => ({ capability, state: true })),
  });
}

async function untilDone(qemu: Qemu, begin: () => Promise<unknown>): Promise<void> {
  const { status, stop } = watchStatus(qemu);
  try {
    await begin();
    const end = await status;
    if (end === 'completed') return;
    throw new EngineError((await migrationStatus(qemu)).error ?? `the migration was ${end}`);
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw new EngineError(`QEMU ended: ${(await qemu.ended).detail}`, undefined, { cause: error });
  } finally {
    stop();
  }
}

function watchStatus(qemu: Qemu): { readonly status: Promise<string>; readonly stop: () => void } {
  let stop = (): void => undefined;
  const status = new Promise<string>((resolve, reject) => {
    stop = qemu.onEvent(({ event, data }) => {
      const now = String(data['status']);
      if (event === 'MIGRATION' && ENDS.has(now)) resolve(now);
    });
    void qemu.ended.then(({ detail }) => reject(new EngineError(`QEMU ended: ${detail}`)));
  });
  // `begin` may fail first
  status.catch(() => undefined);
  return { status, stop };
}

/** How often QEMU is asked whether it is out of a migration, in milliseconds. */
const ASK_MS = 2;

/** The event comes a moment before QEMU takes commands that start or stop the machine again. */
async function settled(qmp: Qmp): Promise<void> {
  for (;;) {
    const answer = await qmp.execute('query-status');
    const isAtIt =
      typeof answer === 'object' &&
      answer !== null &&
      'status' in answer &&
      answer.status === 'finish-migrate';
    if (!isAtIt) return;
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
  }
}

/** Lets the guest run again after a failure; a QEMU that has ended is told of elsewhere. */
async function goOn({ qmp }: Qemu): Promise<void> {
  await settled(qmp)
    .then(() => qmp.execute('cont'))
    .catch(() => undefined);
}
