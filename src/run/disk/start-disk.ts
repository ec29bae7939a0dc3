import type { ConnectGuest } from '../../guest/guest.ts';
import type { DiskImage } from '../../images/image.ts';
import { createCleanupStack } from '../../util/cleanup-stack.ts';
import type { StartedGuest, StartOptions } from '../owner/start-guest.ts';
import type { RunRequest } from '../run-request.ts';
import type { OwnedVm } from '../vm-directory/vm-directories.ts';
import { rebaseOnImage } from './clone-files.ts';
import { connectWhenReady } from './connect-disk.ts';
import { BOOT_MS, ownDiskVm, startDiskVmm, type DiskStart } from './disk-vm.ts';
import { chooseFirmware } from './firmware.ts';
import { watchGuest } from './guest-watch.ts';
import { planDiskVm } from './plan-disk.ts';
import { inspectImage, prepareDisk } from './prepare-disk.ts';
import { openDiskSnapshot, restoreDisk } from './restore-disk.ts';
import { startWarmDisk } from './warm-disk.ts';

/*
 * VMs with a disk image that has an operating system of its own. Nothing of Nephos stays in the guest: its service manager (systemd 256 or
 * newer) or cloud-init configures the SSH server of the image (systemd.io/VM_INTERFACE).
 *
 *   start-disk.ts      starts a VM: restores it, or boots it
 *   warm-disk.ts       snapshots of booted images
 *   restore-disk.ts    starts a VM from a snapshot: warm, or a clone
 *   port-connection.ts SSH connection of a warm snapshot, which a restored guest continues
 *   refresh-guest.ts   identity of a restored guest
 *   clone-files.ts     files of a VM for a clone
 *   disk-vm.ts         VMM and guest until the end; guest-watch.ts, guest-reboots.ts: reports, resets, connections after them
 *   connect-disk.ts    waits until the guest is ready, connects to it
 *   prepare-disk.ts    files of the VM directory: overlay, seed disk, key
 *   plan-disk.ts       pure: request to VmConfig
 *   credentials.ts     pure: system credentials for systemd, as OEM strings
 *   cloud-init.ts      pure: seed disk for older guests
 *   ssh-server.ts      pure: files and units of the SSH server, the same for both
 *   guest-identity.ts  pure: machine id, context id
 *   iso9660.ts, qcow2-overlay.ts, key-pair.ts   formats of files
 *
 * States: booting, ready, shutting down, ended; a reset goes back to booting. Invariant: the image is never written; the guest writes to an
 * overlay in the VM directory.
 */

/** A disk image to run. */
export interface DiskRun {
  readonly request: RunRequest;
  readonly image: DiskImage;
  readonly connect: ConnectGuest;
}

/**
 * Starts a VM from a disk image, waits until it is ready, and connects to its SSH server. Rejects after the VMM has ended.
 * @throws RunError, ReadyError, LaunchError, RequestError, GuestError
 */
export async function startDisk(
  { request, image, connect }: DiskRun,
  vm: OwnedVm,
  options: Omit<StartOptions, 'connect'>,
): Promise<StartedGuest> {
  const firmware = request.kernel === undefined ? await chooseFirmware(request.firmware) : undefined;
  const start: DiskStart = { request, firmware, image: await inspectImage(image), vm, connect };
  if (request.snapshot !== undefined) {
    const snapshot = await openDiskSnapshot(request.snapshot);
    await rebaseOnImage(snapshot.disk, image);
    return { ...(await restoreDisk(start, snapshot, options)), isWarm: false };
  }
  return (await startWarmDisk(start, options)) ?? bootDisk(start, options);
}

/** Boots a VM. */
async function bootDisk(start: DiskStart, options: Omit<StartOptions, 'connect'>): Promise<StartedGuest> {
  const { request, image, vm, connect } = start;
  const { paths } = vm;
  const { signal } = options;
  const { guest: description, privateKey } = await prepareDisk(request, image, vm);
  const stack = createCleanupStack();
  try {
    const watch = stack.use(await watchGuest(paths.guest, options));
    const vmm = stack.use(await startDiskVmm(paths, signal));
    options.onVmm(vmm);
    watch.follow(vmm.events, 'boot');
    await vmm.client.call('vm.create', planDiskVm(start, description, paths), { signal });
    await vmm.client.call('vm.boot', undefined, { signal });
    const booting = { boot: watch.boot(), socketPath: paths.guest, privateKey, connect };
    const guest = await connectWhenReady(booting, { signal, timeoutMs: BOOT_MS });
    watch.markReady();
    return ownDiskVm({ vmm, guest, isWarm: false }, start, { stack, watch, privateKey });
  } catch (error) {
    await stack[Symbol.asyncDispose]();
    throw error;
  }
}
