import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { VmConfigInput } from '../../config/vm-config.ts';
import type { RequestBody } from '../../sdk/client.ts';
import type { VmmProcess } from '../../sdk/vmm-process.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import {
  connectServer,
  startCold,
  startVmmIn,
  type GuestPlan,
  type StartedGuest,
  type StartOptions,
} from '../owner/start-guest.ts';
import { recordGreeting } from './ssh-greeting.ts';
import {
  buildWarmEntry,
  findWarmEntry,
  removeWarmEntry,
  type WarmBuild,
  type WarmEntry,
} from './warm-cache.ts';
import { warmKeyOf } from './warm-key.ts';
import { sweepWarmEntries } from './warm-sweep.ts';

const log = createLog('warm');

/** Time limit of the SSH connection to a restored guest, in milliseconds. It takes 0.1 s on a quiet host. */
const CONNECT_MS = 60_000;

/** Delay before another try to connect to a console, in milliseconds. */
const POLL_MS = 2;

/**
 * Starts a VM from the snapshot of its booted guest. Without one it boots, and a snapshot is taken before the guest has received anything:
 * the next start restores it. A snapshot that cannot be restored is removed, and the VM boots. A cache that cannot be used is not used.
 * @throws as `startCold`
 */
export async function startWarm(plan: GuestPlan, options: StartOptions): Promise<StartedGuest> {
  const { config, initramfsId } = plan;
  if (initramfsId === undefined) return startCold(plan, options);
  let build: WarmBuild | undefined;
  try {
    const key = await warmKeyOf({ config, initramfsId });
    const entry = await findWarmEntry(key);
    const restored = entry && (await restoreEntry(entry, plan, options));
    if (restored !== undefined) return restored;
    build = await buildWarmEntry(key);
  } catch (error) {
    options.signal.throwIfAborted();
    log.info(`no warm start: ${reasonOf(error)}`);
  }
  if (build === undefined) return startCold(plan, options);
  try {
    const { snapshot, publish } = build;
    return await startCold(plan, options, (vmm, stream) => keepSnapshot({ vmm, stream, snapshot, publish }));
  } finally {
    await build[Symbol.asyncDispose]();
  }
}

/** Restores an entry. @returns undefined where that fails; the entry is removed then, and nothing of the VM is left */
async function restoreEntry(
  entry: WarmEntry,
  plan: GuestPlan,
  options: StartOptions,
): Promise<StartedGuest | undefined> {
  const { signal } = options;
  try {
    return await restoreWithVmm(entry, plan, options);
  } catch (error) {
    signal.throwIfAborted();
    log.info(`${entry.folder}: removed, because it cannot be restored: ${reasonOf(error)}`);
    await removeWarmEntry(entry.folder);
    return undefined;
  }
}

/** Starts a VMM that restores an entry, and connects to the guest. Rejects after the VMM has ended. */
async function restoreWithVmm(
  entry: WarmEntry,
  plan: GuestPlan,
  options: StartOptions,
): Promise<StartedGuest> {
  const { signal } = options;
  // on the command line of the VMM: a request would begin later
  const request = JSON.stringify(restoreRequest(entry.snapshot, plan));
  const vmm = await startVmmIn(plan.paths, signal, ['--restore', request]);
  try {
    const stream = await openConsole(plan.paths.console, vmm, signal);
    stream.unshift(entry.greeting);
    const guest = await connectServer(plan, options, { stream, timeoutMs: CONNECT_MS });
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

interface ReadyVm extends Pick<WarmBuild, 'snapshot' | 'publish'> {
  readonly vmm: VmmProcess;
  readonly stream: Socket;
}

/** Takes the snapshot of a booted VM, which runs on afterwards, also where there is no space for a snapshot. */
async function keepSnapshot({ vmm: { client }, stream, snapshot, publish }: ReadyVm): Promise<void> {
  const greeting = await recordGreeting(stream, AbortSignal.timeout(CONNECT_MS));
  await client.call('vm.pause');
  const failed = await client
    .call('vm.snapshot', { destination_url: `file://${snapshot}` })
    .then(() => publish(greeting))
    .then(() => sweepWarmEntries())
    .then(() => undefined)
    .catch((error: unknown) => reasonOf(error));
  await client.call('vm.resume');
  if (failed !== undefined) log.info(`no snapshot for warm starts: ${failed}`);
}
