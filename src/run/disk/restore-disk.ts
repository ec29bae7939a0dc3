import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Socket } from 'node:net';
import type { VmConfigInput } from '../../config/vm-config.ts';
import type { Guest, GuestAccess } from '../../guest/guest.ts';
import type { RequestBody } from '../../sdk/client.ts';
import { onEvents } from '../../sdk/vm-end.ts';
import type { VmmProcess } from '../../sdk/vmm-process.ts';
import { connectVsock } from '../../sdk/vsock.ts';
import { createCleanupStack } from '../../util/cleanup-stack.ts';
import { reasonOf } from '../../util/errno.ts';
import { onAbort } from '../../util/shutdown-signals.ts';
import { RunError } from '../errors.ts';
import { SSH_PORT } from '../owner/guest-socket.ts';
import type { StartedGuest, StartOptions } from '../owner/start-guest.ts';
import { repeatConnection, type RecordedConnection } from '../warm/recorded-connection.ts';
import { directoriesOf, forwardsOf, openConsole } from '../warm/restored-guest.ts';
import { ownDiskVm, startDiskVmm, type DiskStart } from './disk-vm.ts';
import { watchGuest } from './guest-watch.ts';
import { planDiskVm } from './plan-disk.ts';
import { discardDisk, prepareDisk } from './prepare-disk.ts';
import { refreshGuest } from './refresh-guest.ts';

/*
 * Restore of a disk image's VM: from a warm snapshot, or as a clone of a running VM. The VM has an overlay, sockets and credentials of its
 * own. Its guest has the identity of the snapshot until refresh-guest.ts has changed it, and reads its credentials at its next boot.
 */

/** A snapshot with its disk. */
export interface DiskSnapshot {
  /** Directory of the snapshot */
  readonly snapshot: string;
  /** qcow2 image: the disk at the time of the snapshot */
  readonly disk: string;
  /** Key with which root of the guest can log in */
  readonly privateKey: string;
  /** Connection of the guest on its port; without one a restore opens another over vsock */
  readonly connection?: RecordedConnection | undefined;
}

/** Files beside those of a snapshot. */
export const DISK_SNAPSHOT_FILES = { disk: 'disk.qcow2', key: 'id_ed25519', seed: 'seed.iso' } as const;

/** Opens a snapshot whose disk and key are beside its files. @throws RunError */
export async function openDiskSnapshot(
  snapshot: string,
  connection?: RecordedConnection,
): Promise<DiskSnapshot> {
  const key = join(snapshot, DISK_SNAPSHOT_FILES.key);
  try {
    const privateKey = await readFile(key, 'utf8');
    return { snapshot, disk: join(snapshot, DISK_SNAPSHOT_FILES.disk), privateKey, connection };
  } catch (error) {
    throw new RunError('start', `${key}: cannot be read: ${reasonOf(error)}`, { cause: error });
  }
}

/** Time limit until the guest answers, in milliseconds: a second on a quiet host. */
const CONNECT_MS = 120_000;

/** Delay before another attempt to connect, in milliseconds. */
const RETRY_MS = 10;

/** Restores a VM and gives its guest an identity. Rejects after the VMM has ended. */
export async function restoreDisk(
  start: DiskStart,
  { snapshot, disk, privateKey, connection }: DiskSnapshot,
  options: Omit<StartOptions, 'connect'>,
): Promise<StartedGuest> {
  const { request, image, vm } = start;
  const { paths } = vm;
  const prepared = await prepareDisk(request, image, vm, disk);
  const config = planDiskVm(start, prepared.guest, paths);
  const stack = createCleanupStack();
  try {
    const watch = stack.use(await watchGuest(paths.guest, options));
    watch.markReady();
    const restore = JSON.stringify(diskRestoreRequest(snapshot, config));
    const vmm = stack.use(await startDiskVmm(paths, options.signal, ['--restore', restore]));
    options.onEvents(vmm.events);
    watch.follow(vmm.events, 'restore');
    const limit = AbortSignal.any([options.signal, AbortSignal.timeout(CONNECT_MS)]);
    const access = { privateKey, signal: limit, timeoutMs: CONNECT_MS };
    const guest = stack.use(await connectRestored({ start, vmm, connection }, access));
    await refreshGuest(guest, prepared.guest);
    options.onVmm(vmm);
    return ownDiskVm({ vmm, guest, isWarm: true }, start, {
      stack,
      watch,
      privateKey: prepared.privateKey,
    });
  } catch (error) {
    await stack[Symbol.asyncDispose]();
    await discardDisk(paths);
    throw error;
  }
}

/** A VM that is being restored. */
interface RestoringVm {
  readonly start: DiskStart;
  readonly vmm: VmmProcess;
  readonly connection: RecordedConnection | undefined;
}

/** Continues the connection of a snapshot, or opens one over vsock. The guest runs then. */
async function connectRestored(
  { start: { vm, connect }, vmm, connection }: RestoringVm,
  access: Pick<GuestAccess, 'privateKey' | 'timeoutMs'> & { readonly signal: AbortSignal },
): Promise<Guest> {
  const { paths } = vm;
  const { signal } = access;
  const resumed = untilResumed(vmm, signal);
  if (connection === undefined) {
    await resumed;
    return connect({ ...access, stream: await connectSoon(paths.guest, signal) });
  }
  // a VMM that exits closes the port as well
  resumed.catch(() => undefined);
  const guest = await repeatConnection(connection, openConsole(paths.console, vmm, signal), (port) =>
    connect({ ...access, ...port }),
  );
  try {
    await resumed;
    return guest;
  } catch (error) {
    await guest[Symbol.asyncDispose]();
    throw error;
  }
}

/** Returns the request to restore a snapshot as a VM with another configuration of the same machine. */
export function diskRestoreRequest(snapshot: string, config: VmConfigInput): RequestBody<'vm.restore'> {
  const { disks, vsock, platform, payload } = config;
  const net = forwardsOf(config);
  const variables = payload?.firmware_vars;
  return {
    source_url: `file://${snapshot}`,
    resume: true,
    overrides: {
      ...consoleOverrides(config),
      disks: (disks ?? []).flatMap(({ id, path, image_type, backing_files = false }) =>
        typeof id === 'string' && typeof path === 'string' ? [{ id, path, image_type, backing_files }] : [],
      ),
      fs: directoriesOf(config),
      ...(vsock && { vsock: { socket: vsock.socket, cid: vsock.cid } }),
      ...(net.length > 0 && { net }),
      ...(platform?.oem_strings && { platform: { oem_strings: platform.oem_strings } }),
      ...(typeof variables === 'string' && { payload: { firmware_vars: variables } }),
    },
  };
}

function consoleOverrides({ serial, console }: VmConfigInput): RequestBody<'vm.restore'>['overrides'] {
  return {
    ...(typeof serial?.file === 'string' && { serial: { file: serial.file } }),
    ...(typeof console?.socket === 'string' && { console: { socket: console.socket } }),
  };
}

/** Waits until the guest of a restored VM runs: an earlier connection to it would expire. @throws RunError where the VMM exits before */
async function untilResumed({ events, ended }: VmmProcess, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    onEvents(events, ({ source, event }) => {
      if (source === 'vm' && event === 'resumed') resolve();
    });
    ended
      .then(({ code }) => reject(new RunError('start', `the VMM exited with code ${code ?? 'none'}`)))
      .catch(reject);
    onAbort(signal, () => reject(new RunError('start', 'the restore was aborted', { cause: signal.reason })));
  });
}

/** Connects to the SSH server of a guest that runs. */
async function connectSoon(path: string, signal: AbortSignal): Promise<Socket> {
  for (;;) {
    try {
      return await connectVsock(path, SSH_PORT, { signal });
    } catch (error) {
      if (signal.aborted) throw error;
      await delay(RETRY_MS, undefined, { signal });
    }
  }
}
