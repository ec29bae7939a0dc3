import { existsSync } from 'node:fs';
import { rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { VmmProcess } from '../../sdk/vmm-process.ts';
import { createCleanupStack } from '../../util/cleanup-stack.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { RunError } from '../errors.ts';
import { watchGuestEnd } from '../owner/guest-end.ts';
import type { StartedGuest, StartOptions } from '../owner/start-guest.ts';
import { writeNewFile } from '../vm-directory/new-file.ts';
import type { RecordedConnection } from '../warm/recorded-connection.ts';
import {
  buildWarmEntry,
  findWarmEntry,
  removeWarmEntry,
  type WarmBuild,
  type WarmEntry,
} from '../warm/warm-cache.ts';
import { warmKeyOf } from '../warm/warm-key.ts';
import { sweepWarmEntries } from '../warm/warm-sweep.ts';
import { connectWhenReady } from './connect-disk.ts';
import { BOOT_MS, startDiskVmm, type DiskStart } from './disk-vm.ts';
import type { DiskGuest } from './guest-identity.ts';
import { watchGuest } from './guest-watch.ts';
import { describeGuest, planDiskVm, type DiskFiles } from './plan-disk.ts';
import { recordPortConnection } from './port-connection.ts';
import { generateKeys, overlayOf, writeDiskFiles } from './prepare-disk.ts';
import { CAN_REFRESH } from './refresh-guest.ts';
import { DISK_SNAPSHOT_FILES, openDiskSnapshot, restoreDisk } from './restore-disk.ts';
import type { SshServerKeys } from './ssh-server.ts';

/*
 * Warm starts of disk images. The first run boots a guest without an identity, takes a snapshot of it with its overlay, and restores that. A
 * later run restores it at once. An entry of the cache (warm/warm-cache.ts) has the snapshot, the overlay, the seed disk and the key of the
 * guest. Volumes are devices of the snapshot, which the guest has not mounted: nothing of a directory is in it.
 *
 * An image whose guest cannot get another identity (systemd older than 256) has an entry without a snapshot: its runs boot.
 */

const log = createLog('warm');

type Options = Omit<StartOptions, 'connect'>;

/** Disk space beside the RAM that a new entry may need, in bytes. */
const SPACE_BYTES = 2 ** 28;

/**
 * Starts a VM from a warm snapshot, which is made first where there is none.
 * @returns undefined where the VM must boot
 * @throws RunError for a guest that crashes while it boots
 */
export async function startWarmDisk(start: DiskStart, options: Options): Promise<StartedGuest | undefined> {
  const { request } = start;
  // its words for the kernel are those of one VM
  if (request.isCold || request.kernel !== undefined) return undefined;
  try {
    const key = await keyOf(start);
    const entry = (await findWarmEntry(key)) ?? (await buildEntry(key, start, options));
    return entry === undefined ? undefined : await restoreEntry(entry, start, options);
  } catch (error) {
    options.signal.throwIfAborted();
    if (error instanceof RunError && error.fault === 'crashed') throw error;
    log.info(`no warm start: ${reasonOf(error)}`);
    return undefined;
  }
}

/** Guest without an identity: the same for all VMs of an image. */
function anonymousGuest({ request }: DiskStart, keys: SshServerKeys): DiskGuest {
  const { hostname: _hostname, ...rest } = request;
  return { ...describeGuest(rest, { name: 'nephos', id: 'warm' }, keys), volumes: [] };
}

/** Returns the key of a machine and its image. */
async function keyOf(start: DiskStart): Promise<string> {
  const { image, firmware } = start;
  const guest = anonymousGuest(start, { authorizedKey: '', hostKey: '' });
  const files = { disk: image.path, seed: '', guest: '', console: '', serial: '' };
  const config = planDiskVm(start, guest, files);
  const firmwares = firmware === undefined ? [] : [firmware.path];
  return warmKeyOf({ config, initramfsId: 'disk image', files: [...image.backing, ...firmwares] });
}

/** Restores an entry. @returns undefined where that fails: the entry is removed then; or where the entry has no snapshot */
async function restoreEntry(
  { folder, snapshot, connection }: WarmEntry,
  start: DiskStart,
  options: Options,
): Promise<StartedGuest | undefined> {
  if (!existsSync(join(snapshot, DISK_SNAPSHOT_FILES.key))) return undefined;
  try {
    return await restoreDisk(start, await openDiskSnapshot(snapshot, connection), options);
  } catch (error) {
    options.signal.throwIfAborted();
    log.info(`${folder}: removed, because it cannot be restored: ${reasonOf(error)}`);
    await removeWarmEntry(folder);
    return undefined;
  }
}

/** Builds the entry of a key. @returns undefined where another process builds it, or there is no space */
async function buildEntry(key: string, start: DiskStart, options: Options): Promise<WarmEntry | undefined> {
  await using build = await buildWarmEntry(key);
  if (build === undefined) return undefined;
  const { bavail, bsize } = await statfs(build.snapshot);
  const [needed, free] = [start.request.memory + SPACE_BYTES, bavail * bsize];
  if (free < needed)
    throw new Error(`${build.snapshot}: ${needed} bytes may be needed, and ${free} are free`);
  await build.publish(await bootAndSnapshot(start, build, options));
  await sweepWarmEntries();
  return await findWarmEntry(key);
}

/**
 * Boots the anonymous guest, and writes its snapshot with its disk and its key. The VMM has ended afterwards.
 * @returns the connection of the guest to its port, where it has one
 */
async function bootAndSnapshot(
  start: DiskStart,
  { snapshot }: Pick<WarmBuild, 'snapshot'>,
  { signal, onReport }: Options,
): Promise<RecordedConnection | undefined> {
  const { paths } = start.vm;
  const { keys, privateKey } = await generateKeys('nephos');
  const guest = anonymousGuest(start, keys);
  const files: DiskFiles = {
    disk: join(snapshot, DISK_SNAPSHOT_FILES.disk),
    seed: join(snapshot, DISK_SNAPSHOT_FILES.seed),
    guest: paths.guest,
    console: paths.console,
    serial: paths.serial,
  };
  await writeDiskFiles(files, overlayOf(start.image, start.image), guest);
  const crashed = new AbortController();
  const limit = AbortSignal.any([signal, crashed.signal]);
  const stack = createCleanupStack();
  try {
    const fail = (error: RunError): void => crashed.abort(error);
    const watch = stack.use(await watchGuest(paths.guest, { onReport, onFailed: fail }));
    const vmm = stack.use(await startDiskVmm(paths, limit));
    watchGuestEnd(vmm, paths.serial).then(fail).catch(fail);
    watch.follow(vmm.events, 'boot');
    await vmm.client.call('vm.create', planDiskVm(start, guest, files), { signal: limit });
    await vmm.client.call('vm.boot', undefined, { signal: limit });
    const booting = { boot: watch.boot(), socketPath: paths.guest, privateKey, connect: start.connect };
    const overVsock = stack.use(await connectWhenReady(booting, { signal: limit, timeoutMs: BOOT_MS }));
    const { exitCode } = await overVsock.exec(CAN_REFRESH);
    if (exitCode !== 0) return await Promise.all([rm(files.disk), rm(files.seed)]).then(() => undefined);
    const booted = { ...booting, guest: overVsock, socketPath: paths.console };
    const connection = await recordPortConnection(booted, stack, limit);
    await takeSnapshot(vmm, snapshot);
    await writeNewFile(join(snapshot, DISK_SNAPSHOT_FILES.key), privateKey);
    return connection;
  } catch (error) {
    // the reason of a guest that has crashed
    throw crashed.signal.aborted ? crashed.signal.reason : error;
  } finally {
    await stack[Symbol.asyncDispose]();
  }
}

/** Takes the snapshot. The VM stays paused: its disk then belongs to the snapshot. */
async function takeSnapshot({ client }: VmmProcess, snapshot: string): Promise<void> {
  await client.call('vm.pause');
  await client.call('vm.snapshot', { destination_url: `file://${snapshot}` });
}
