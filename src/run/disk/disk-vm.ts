import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectGuest } from '../../guest/guest.ts';
import type { VmmProcess } from '../../sdk/vmm-process.ts';
import type { CleanupStack } from '../../util/cleanup-stack.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { startVmmIn, type StartedGuest } from '../owner/start-guest.ts';
import type { VmPaths } from '../vm-directory/paths.ts';
import type { OwnedVm } from '../vm-directory/vm-directories.ts';
import { connectWhenReady } from './connect-disk.ts';
import { followReboots } from './guest-reboots.ts';
import type { GuestWatch } from './guest-watch.ts';
import type { DiskMachine } from './plan-disk.ts';
import type { InspectedImage } from './prepare-disk.ts';

/* VMM and guest of a disk image, also across the reboots of the guest and at the end. */

const log = createLog('disk');

/** A disk image's VM to start. */
export interface DiskStart extends DiskMachine {
  readonly image: InspectedImage;
  readonly vm: OwnedVm;
  readonly connect: ConnectGuest;
}

/** Time limit of a boot in milliseconds: an emulated guest with cloud-init takes a minute, and more on a busy host. */
export const BOOT_MS = 300_000;

/** Time limit of an orderly shutdown, in milliseconds; then the VMM is ended. */
const SHUTDOWN_MS = 60_000;

/** A reset of the guest boots it again, a panic ends the VM. */
const POLICIES = ['--on-reboot', 'restart', '--on-panic', 'exit'];

/** Starts a VMM for a VM directory. */
export function startDiskVmm(
  paths: VmPaths,
  signal: AbortSignal,
  args: readonly string[] = [],
): Promise<VmmProcess> {
  return startVmmIn(paths, signal, args, POLICIES);
}

/** Reports of a guest, and the key for connections after a reboot. */
export interface GuestAccessLater {
  readonly watch: GuestWatch;
  readonly privateKey: string;
}

/**
 * Returns a VM that follows the reboots of its guest. Its disposal shuts the guest down first where its overlay is kept: its file systems are
 * then clean. `stack` has its other resources, the VMM among them.
 */
export function ownDiskVm(
  { vmm, guest, isWarm }: StartedGuest,
  { request, vm: { paths }, connect }: Pick<DiskStart, 'request' | 'vm' | 'connect'>,
  { stack, watch, privateKey }: GuestAccessLater & { readonly stack: CleanupStack },
): StartedGuest {
  const reboots = stack.use(
    followReboots(watch, guest, (signal) =>
      connectWhenReady(
        { boot: watch.boot(), socketPath: paths.guest, privateKey, connect },
        { signal, timeoutMs: BOOT_MS },
      ),
    ),
  );
  const dispose = async (): Promise<void> => {
    if (!request.removes) await shutDown(vmm);
    await stack[Symbol.asyncDispose]();
  };
  return { vmm: { ...vmm, [Symbol.asyncDispose]: dispose }, guest, isWarm, reboots };
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
