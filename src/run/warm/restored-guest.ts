import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { VmConfigInput } from '../../config/vm-config.ts';
import type { Guest } from '../../guest/guest.ts';
import type { RequestBody } from '../../sdk/client.ts';
import type { VmmProcess } from '../../sdk/vmm-process.ts';
import { readableOrEnded } from '../../util/readable-or-ended.ts';
import { startVmmIn, type GuestPlan, type StartedGuest, type StartOptions } from '../owner/start-guest.ts';

/** Delay before another try to connect to a console, in milliseconds. */
const POLL_MS = 2;

/** Time limit of a restore, in milliseconds. It takes 0.1 s on a quiet host. */
const RESTORE_MS = 60_000;

/** Event of a VM that runs, as the event monitor writes it. */
const RESUMED = '"event": "resumed"';

/** A snapshot to restore. */
export interface Restoring {
  /** Directory of the snapshot */
  readonly snapshot: string;
  /** Connects to the SSH server of the guest. It is called before the VMM has started; `opened` settles with the stream of the console. */
  readonly connect: (opened: Promise<Socket>) => Promise<Guest>;
}

/** Starts a VMM that restores a snapshot, and connects to the guest, which runs then. Rejects after the VMM has ended. */
export async function startRestored(
  plan: GuestPlan,
  options: StartOptions,
  { snapshot, connect: connectTo }: Restoring,
): Promise<StartedGuest> {
  const { signal } = options;
  // on the command line of the VMM: a request would begin later
  const request = JSON.stringify(restoreRequest(snapshot, plan));
  const starting = startVmmIn(plan.paths, signal, ['--restore', request]);
  const opened = starting.then((vmm) => openConsole(plan.paths.console, vmm, signal));
  const connecting = connectTo(opened);
  try {
    const [vmm, guest] = await Promise.all([starting, connecting]);
    await untilResumed(vmm, signal);
    options.onVmm(vmm);
    return { vmm, guest, isWarm: true };
  } catch (error) {
    // the VMM first: a connection without its guest may not have begun to fail
    await starting.then((vmm) => vmm[Symbol.asyncDispose]()).catch(() => undefined);
    await connecting.then((guest) => guest[Symbol.asyncDispose]()).catch(() => undefined);
    throw error;
  }
}

/** Waits until a VMM has reported that its VM runs. The events stay in the stream. Rejects where the VMM exits before. */
async function untilResumed({ events }: VmmProcess, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(RESTORE_MS)]);
  let seen = Buffer.alloc(0);
  for (;;) {
    const part: unknown = events.read();
    if (part instanceof Buffer) seen = Buffer.concat([seen, part]);
    if (seen.includes(RESUMED)) return events.unshift(seen);
    if (events.readableEnded || events.destroyed) throw new Error('the VMM exited');
    if (part === null) await readableOrEnded(events, limit);
  }
}

/** Returns the request to restore a snapshot with the sockets, files and forwards of a VM. */
export function restoreRequest(
  snapshot: string,
  { config, paths }: Pick<GuestPlan, 'config' | 'paths'>,
): RequestBody<'vm.restore'> {
  const net = forwardsOf(config);
  const fs = directoriesOf(config);
  return {
    source_url: `file://${snapshot}`,
    resume: true,
    overrides: {
      serial: { file: paths.serial },
      console: { socket: paths.console },
      ...(net.length > 0 && { net }),
      ...(fs.length > 0 && { fs }),
    },
  };
}

type Overrides = NonNullable<RequestBody<'vm.restore'>['overrides']>;

/** Returns the overrides of shared directories. */
export function directoriesOf({ fs }: VmConfigInput): NonNullable<Overrides['fs']> {
  return (fs ?? []).flatMap(({ id, directory }) =>
    typeof id === 'string' && typeof directory === 'string' ? [{ id, directory }] : [],
  );
}

/** Returns the overrides of user-mode networks. */
export function forwardsOf({ net }: VmConfigInput): NonNullable<Overrides['net']> {
  return (net ?? []).flatMap(({ id, backend, forwards }) =>
    backend === 'user' && typeof id === 'string' ? [{ id, forwards: forwards ?? [] }] : [],
  );
}

/** Connects to the console of a VM that is being restored: the VMM reads input once the guest runs. Rejects where the VMM exits before. */
export async function openConsole(path: string, { ended }: VmmProcess, signal: AbortSignal): Promise<Socket> {
  let hasEnded = false;
  ended.then(() => (hasEnded = true)).catch(() => undefined);
  for (;;) {
    const socket = connect({ path });
    try {
      await once(socket, 'connect', { signal });
      return socket;
    } catch (error) {
      socket.on('error', () => undefined).destroy();
      signal.throwIfAborted();
      if (hasEnded) throw new Error('the VMM exited', { cause: error });
      await delay(POLL_MS, undefined, { signal });
    }
  }
}
