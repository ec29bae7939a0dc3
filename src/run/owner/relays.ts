import { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Guest, GuestProcess } from '../../guest/guest.ts';
import { createSlots } from '../../guest/slots.ts';
import { RELAY_COMMAND } from '../guest-tools/enter-command.ts';
import { TOOLS_ROOT } from './start-guest.ts';

/*
 * Connections of other processes to an SSH server of their own in the guest, each a command of the owner's connection.
 *
 * Invariants: a relay ends with its client, also where the client is killed: the server in the guest would wait for minutes otherwise. Relays
 * never take all commands of the owner's connection, and a client that has left waits for none.
 */

/** Relays at a time, less than the commands of a connection to dropbear (src/guest/connection.ts). The others wait. */
const RELAYS_MAX = 24;

/** Time from SIGTERM to SIGKILL, in milliseconds. */
const GRACE_MS = 2000;

/** Connects to a new SSH server in the guest. The signal ends it. */
export type ConnectRelay = (signal: AbortSignal) => Promise<Duplex>;

/** Creates the relays of a guest. */
export function createRelays(guest: Guest): ConnectRelay {
  const slots = createSlots(RELAYS_MAX);
  return async (signal) => {
    const release = await slots.take(signal);
    try {
      // without the signal: an abort of the opening may cost the connection, which all relays share
      const relay = await guest.spawn(RELAY_COMMAND, { user: TOOLS_ROOT });
      relay.exited.finally(release).catch(() => undefined);
      endWith(relay, signal);
      return Duplex.from({ readable: relay.stdout, writable: relay.stdin });
    } catch (error) {
      release();
      throw error;
    }
  };
}

function endWith(relay: GuestProcess, signal: AbortSignal): void {
  // it fails with the connection of the owner, which has ended the relay then
  const end = (): void => void endRelay(relay).catch(() => undefined);
  signal.addEventListener('abort', end, { once: true });
  relay.exited.finally(() => signal.removeEventListener('abort', end)).catch(() => undefined);
  if (signal.aborted) end();
}

async function endRelay(relay: GuestProcess): Promise<void> {
  await relay.kill('TERM');
  const timer = new AbortController();
  const late = delay(GRACE_MS, true, { signal: timer.signal }).catch(() => false);
  const isLate = await Promise.race([
    relay.exited.then(
      () => false,
      () => false,
    ),
    late,
  ]);
  timer.abort();
  if (isLate) await relay.kill('KILL');
}
