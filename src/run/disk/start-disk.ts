import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectGuest } from '../../guest/guest.ts';
import type { DiskImage } from '../../images/image.ts';
import { listenForNotify } from '../../sdk/notify/listener.ts';
import type { VmmProcess } from '../../sdk/vmm-process.ts';
import { createCleanupStack, type CleanupStack } from '../../util/cleanup-stack.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { startVmmIn, type StartedGuest, type StartOptions } from '../owner/start-guest.ts';
import type { RunRequest } from '../run-request.ts';
import type { OwnedVm } from '../vm-directory/vm-directories.ts';
import { connectWhenReady } from './connect-disk.ts';
import { chooseFirmware } from './firmware.ts';
import { planDiskVm } from './plan-disk.ts';
import { prepareDisk } from './prepare-disk.ts';

const log = createLog('disk');

/*
 * VMs with a disk image that has an operating system of its own. Nothing of Nephos runs in the guest: its service manager (systemd 256 or
 * newer) or cloud-init configures the SSH server of the image (systemd.io/VM_INTERFACE).
 *
 *   start-disk.ts      starts a VM, and shuts it down
 *   connect-disk.ts    waits until the guest is ready, connects to it
 *   prepare-disk.ts    files of the VM directory: overlay, seed disk, key
 *   plan-disk.ts       pure: request to VmConfig
 *   credentials.ts     pure: system credentials for systemd, as OEM strings
 *   cloud-init.ts      pure: seed disk for older guests
 *   ssh-server.ts      pure: files and units of the SSH server, the same for both
 *   guest-identity.ts  pure: machine id, context id
 *   iso9660.ts, qcow2-overlay.ts, key-pair.ts   formats of files
 *
 * States: booting, ready, ended. Invariant: the image is never written; the guest writes to an overlay in the VM directory.
 */

/** A disk image to run. */
export interface DiskRun {
  readonly request: RunRequest;
  readonly image: DiskImage;
  readonly connect: ConnectGuest;
}

/** Time limit of a boot in milliseconds: an emulated guest with cloud-init takes a minute, and more on a busy host. */
const BOOT_MS = 300_000;

/** Time limit of an orderly shutdown, in milliseconds; then the VMM is ended. */
const SHUTDOWN_MS = 60_000;

/**
 * Boots a VM from a disk image, waits until it is ready, and connects to its SSH server. Rejects after the VMM has ended.
 * @throws RunError, ReadyError, LaunchError, RequestError, GuestError
 */
export async function startDisk(
  { request, image, connect }: DiskRun,
  vm: OwnedVm,
  { signal, onVmm }: Omit<StartOptions, 'connect'>,
): Promise<StartedGuest> {
  const { paths } = vm;
  const { guest: description, privateKey } = await prepareDisk(request, image, vm);
  const firmware = request.firmware ?? (await chooseFirmware());
  const config = planDiskVm(request, description, { ...paths, firmware });
  const stack = createCleanupStack();
  try {
    // before the boot: the service manager sends each message once
    const listener = stack.use(await listenForNotify(paths.guest));
    const vmm = stack.use(await startVmmIn(paths, signal));
    onVmm(vmm);
    await vmm.client.call('vm.create', config, { signal });
    await vmm.client.call('vm.boot', undefined, { signal });
    const booting = { listener, socketPath: paths.guest, privateKey, connect };
    const guest = await connectWhenReady(booting, { signal, timeoutMs: BOOT_MS });
    return { vmm: { ...vmm, ...endingWith(vmm, stack, request) }, guest, isWarm: false };
  } catch (error) {
    await stack[Symbol.asyncDispose]();
    throw error;
  }
}

/** Returns a disposal that shuts the guest down first where its overlay is kept: its file systems are then clean. */
function endingWith(vmm: VmmProcess, stack: CleanupStack, { removes }: RunRequest): AsyncDisposable {
  return {
    [Symbol.asyncDispose]: async () => {
      if (!removes) await shutDown(vmm);
      await stack[Symbol.asyncDispose]();
    },
  };
}

/** Presses the power button and waits for the guest's power-off, at most {@link SHUTDOWN_MS}. Never rejects. */
async function shutDown({ client, ended }: VmmProcess): Promise<void> {
  const limit = new AbortController();
  try {
    await client.call('vm.power-button', undefined, { timeoutMs: SHUTDOWN_MS });
    await Promise.race([ended, delay(SHUTDOWN_MS, undefined, { signal: limit.signal })]);
  } catch (error) {
    // a guest that has ended, or crashed
    log.info(`the guest cannot be shut down: ${reasonOf(error)}`);
  } finally {
    limit.abort();
  }
}
