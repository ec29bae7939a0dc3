import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { VmConfigInput } from '../../config/vm-config.ts';
import type { RequestBody } from '../../sdk/client.ts';
import type { VmmProcess } from '../../sdk/vmm-process.ts';
import {
  connectServer,
  startVmmIn,
  type GuestPlan,
  type StartedGuest,
  type StartOptions,
} from '../owner/start-guest.ts';

/** Delay before another try to connect to a console, in milliseconds. */
const POLL_MS = 2;

/** A snapshot to restore. */
export interface Restoring {
  /** Directory of the snapshot */
  readonly snapshot: string;
  /** Makes the stream to the console begin with the banner of the SSH server. */
  readonly prepare: (stream: Socket) => Promise<void>;
  /** Time limit of the SSH connection, in `milliseconds` */
  readonly timeoutMs: number;
}

/** Starts a VMM that restores a snapshot, and connects to the guest. Rejects after the VMM has ended. */
export async function startRestored(
  plan: GuestPlan,
  options: StartOptions,
  { snapshot, prepare, timeoutMs }: Restoring,
): Promise<StartedGuest> {
  const { signal } = options;
  // on the command line of the VMM: a request would begin later
  const request = JSON.stringify(restoreRequest(snapshot, plan));
  const vmm = await startVmmIn(plan.paths, signal, ['--restore', request]);
  try {
    const stream = await openConsole(plan.paths.console, vmm, signal);
    await prepare(stream);
    const guest = await connectServer(plan, options, { stream, timeoutMs });
    options.onVmm(vmm);
    return { vmm, guest, isWarm: true };
  } catch (error) {
    await vmm[Symbol.asyncDispose]();
    throw error;
  }
}

/** Returns the request to restore a snapshot with the sockets, files and forwards of a VM. */
export function restoreRequest(
  snapshot: string,
  { config, paths }: Pick<GuestPlan, 'config' | 'paths'>,
): RequestBody<'vm.restore'> {
  const net = forwardsOf(config);
  return {
    source_url: `file://${snapshot}`,
    resume: true,
    overrides: {
      serial: { file: paths.serial },
      console: { socket: paths.console },
      ...(net.length > 0 && { net }),
    },
  };
}

/** Returns the overrides of user-mode networks. */
function forwardsOf({
  net,
}: VmConfigInput): NonNullable<NonNullable<RequestBody<'vm.restore'>['overrides']>['net']> {
  return (net ?? []).flatMap(({ id, backend, forwards }) =>
    backend === 'user' && typeof id === 'string' ? [{ id, forwards: forwards ?? [] }] : [],
  );
}

/** Connects to the console of a VM that is being restored: the VMM reads input once the guest runs. Rejects where the VMM exits before. */
async function openConsole(path: string, { ended }: VmmProcess, signal: AbortSignal): Promise<Socket> {
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
