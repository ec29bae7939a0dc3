import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import {
  connectServer,
  mountVolumes,
  startCold,
  type GuestPlan,
  type ServerWatch,
  type StartedGuest,
  type StartOptions,
} from '../owner/start-guest.ts';
import { startClone } from './clone-start.ts';
import { repeatConnection, startRecording, type Recording } from './recorded-connection.ts';
import { startRestored } from './restored-guest.ts';
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

/**
 * Starts a VM from the snapshot of its booted guest. Without one it boots, and a snapshot is taken before the guest has run a command: the
 * next start restores it. A snapshot that cannot be restored is removed, and the VM boots. A cache that cannot be used is not used.
 * @throws as `startCold`
 */
export async function startWarm(plan: GuestPlan, options: StartOptions): Promise<StartedGuest> {
  const { config, initramfsId, clone } = plan;
  if (clone !== undefined) return startClone(plan, clone, options);
  if (initramfsId === undefined) return startCold(plan, options);
  let restored: StartedGuest | undefined;
  let build: WarmBuild | undefined;
  try {
    const key = await warmKeyOf({ config, initramfsId });
    const entry = await findWarmEntry(key);
    restored = entry && (await restoreEntry(entry, plan, options));
    if (restored === undefined) build = await buildWarmEntry(key);
  } catch (error) {
    options.signal.throwIfAborted();
    log.info(`no warm start: ${reasonOf(error)}`);
  }
  if (restored !== undefined) return withVolumes(restored, plan);
  if (build === undefined) return startCold(plan, options);
  try {
    return await startCold(plan, options, keepSnapshot(build));
  } finally {
    await build[Symbol.asyncDispose]();
  }
}

/** Mounts the volumes of a restored guest. Rejects after the VMM has ended. @throws RunError */
async function withVolumes(started: StartedGuest, plan: GuestPlan): Promise<StartedGuest> {
  try {
    await mountVolumes(started.guest, plan);
    return started;
  } catch (error) {
    await started.vmm[Symbol.asyncDispose]();
    throw error;
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

/** Starts a VMM that restores an entry; meanwhile the client repeats the connection of the guest. Rejects after the VMM has ended. */
function restoreWithVmm(
  { snapshot, connection }: WarmEntry,
  plan: GuestPlan,
  options: StartOptions,
): Promise<StartedGuest> {
  if (connection === undefined) throw new Error('it has no connection');
  return startRestored(plan, options, {
    snapshot,
    connect: (opened) =>
      repeatConnection(connection, opened, (access) =>
        connectServer(plan, options, { ...access, timeoutMs: CONNECT_MS }),
      ),
  });
}

/** Takes the snapshot of a booted VM, which runs on afterwards, also where there is no space for a snapshot. */
function keepSnapshot({ snapshot, publish }: WarmBuild): ServerWatch {
  let recording: Recording | undefined;
  return {
    onServer: (stream) => (recording = startRecording(stream)).seed,
    onConnected: async ({ client }) => {
      const connection = recording?.finish();
      if (connection === undefined) return;
      await client.call('vm.pause');
      const failed = await client
        .call('vm.snapshot', { destination_url: `file://${snapshot}` })
        .then(() => publish(connection))
        .then(() => sweepWarmEntries())
        .then(() => undefined)
        .catch((error: unknown) => reasonOf(error));
      await client.call('vm.resume');
      if (failed !== undefined) log.info(`no snapshot for warm starts: ${failed}`);
    },
  };
}
