import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { RunError } from '../errors.ts';
import {
  connectServer,
  skipToBanner,
  TOOLS_ROOT,
  type GuestPlan,
  type StartedGuest,
  type StartOptions,
} from '../owner/start-guest.ts';
import { startRestored } from './restored-guest.ts';

/*
 * Start of a clone of a running VM. Its SSH server is in the middle of a connection whose keys only the owner process of the other VM has.
 * Bytes that are no packet of this connection make it exit. The guest then starts another server, which sends a new banner. The processes
 * of the guest continue; output to the lost connection fails.
 */

/** Time limit until commands can run, in milliseconds. */
const CLONE_MS = 120_000;

/** Time after which the bytes are sent again, in milliseconds: a busy host needs a second until the guest runs. */
const AGAIN_MS = 10_000;

/** No SSH packet: an invalid length. The next server reads the rest, up to the line feed, as a line before the client's banner. */
const NO_PACKET = Buffer.concat([Buffer.alloc(64, 0xff), Buffer.from('\n')]);

/** Restores the snapshot of a running VM, and gives the clone an identity of its own. Rejects after the VMM has ended. */
export async function startClone(
  plan: GuestPlan,
  { snapshot, refresh }: NonNullable<GuestPlan['clone']>,
  options: StartOptions,
): Promise<StartedGuest> {
  const started = await startRestored(plan, options, {
    snapshot,
    connect: async (opened) => {
      const stream = await opened;
      await restartServer(stream, options.signal);
      return connectServer(plan, options, { stream, timeoutMs: CLONE_MS });
    },
  });
  try {
    const { exitCode, stderr } = await started.guest.exec(refresh(), { user: TOOLS_ROOT });
    if (exitCode !== 0) throw new RunError('start', `the clone cannot get a new identity: ${stderr}`);
    return started;
  } catch (error) {
    await started.vmm[Symbol.asyncDispose]();
    throw error;
  }
}

/** Makes the SSH server of a guest exit, and waits for the banner of the next one. */
async function restartServer(stream: Socket, signal: AbortSignal): Promise<void> {
  const done = new AbortController();
  const limit = AbortSignal.any([signal, AbortSignal.timeout(CLONE_MS)]);
  const writing = writeUntil(stream, done.signal);
  try {
    await skipToBanner(stream, limit);
  } finally {
    done.abort();
    await writing;
  }
}

async function writeUntil(stream: Socket, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && stream.writable) {
    stream.write(NO_PACKET);
    await delay(AGAIN_MS, undefined, { signal }).catch(() => undefined);
  }
}
