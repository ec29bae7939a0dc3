import { setTimeout as delay } from 'node:timers/promises';
import { GuestError } from '../../guest/errors.ts';
import type { ConnectGuest, Guest } from '../../guest/guest.ts';
import { ReadyError } from '../../sdk/notify/ready.ts';
import { connectWhenListening } from '../../sdk/notify/ssh-answer.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import type { GuestBoot } from './guest-watch.ts';

const log = createLog('disk');

/** Time between two attempts to connect, in milliseconds. */
const RETRY_MS = 500;

/** Waits until all jobs of the boot are done. Its exit code tells whether a unit failed, which is the image's affair. */
const BOOT_END = ['systemctl', 'is-system-running', '--wait', '--quiet'];

/** Guest that boots. */
export interface BootingGuest {
  readonly boot: Pick<GuestBoot, 'ready' | 'status'>;
  /** UNIX socket of its vsock */
  readonly socketPath: string;
  readonly privateKey: string;
  readonly connect: ConnectGuest;
}

/**
 * Connects to the SSH server of a guest as soon as it answers, and waits until the guest has booted: its service manager reports it, or
 * answers by SSH. The report alone would not do: a guest on a busy host loses it where the connection takes more than two seconds.
 * @throws ReadyError, GuestError
 */
export async function connectWhenReady(
  { boot, socketPath, privateKey, connect }: BootingGuest,
  { signal, timeoutMs }: { readonly signal: AbortSignal; readonly timeoutMs: number },
): Promise<Guest> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  try {
    for (;;) {
      const guest = await connectOften({ socketPath, privateKey, connect }, limit, timeoutMs);
      if (await hasBooted(guest, boot, limit)) return guest;
      await guest[Symbol.asyncDispose]();
    }
  } catch (error) {
    if (!limit.aborted) throw error;
    throw new ReadyError(signal.aborted ? 'aborted' : 'timeout', boot.status(), { cause: error });
  }
}

/** Waits until a guest has booted. @returns false where the connection has ended before: the guest was reset */
async function hasBooted(
  guest: Guest,
  { ready }: Pick<GuestBoot, 'ready'>,
  limit: AbortSignal,
): Promise<boolean> {
  try {
    return await Promise.race([
      ready.then(() => true),
      bootEnd(guest, limit).then(() => true),
      guest.closed.then(() => false),
    ]);
  } catch (error) {
    await guest[Symbol.asyncDispose]();
    throw error;
  }
}

/** Connects until a server answers as one of SSH: it may exit, e.g. while the guest makes the directories that it needs. */
async function connectOften(
  { socketPath, privateKey, connect }: Omit<BootingGuest, 'boot'>,
  signal: AbortSignal,
  timeoutMs: number,
): Promise<Guest> {
  for (;;) {
    const stream = await connectWhenListening(socketPath, signal);
    try {
      return await connect({ stream, privateKey, signal, timeoutMs });
    } catch (error) {
      const isEarly = error instanceof GuestError && (error.fault === 'connect' || error.fault === 'closed');
      if (!isEarly || signal.aborted) throw error;
      log.info(`the SSH server of the guest does not answer yet: ${error.message}`);
      await delay(RETRY_MS, undefined, { signal });
    }
  }
}

async function bootEnd(guest: Guest, signal: AbortSignal): Promise<void> {
  try {
    await guest.exec(BOOT_END, { signal });
  } catch (error) {
    signal.throwIfAborted();
    // the report of the service manager decides
    log.info(`the guest does not tell whether it has booted: ${reasonOf(error)}`);
    await new Promise(() => undefined);
  }
}
