import { isDeviceMissing } from '../../qemu/qmp/qmp-error.ts';
import type { QmpEvent } from '../../qemu/qmp/events.ts';
import { createLog } from '../../util/log.ts';
import type { Machine } from '../machine.ts';
import type { VcpuRemoval } from './vcpu-removal.ts';

const log = createLog('hotplug');

/** Time after which a guest that has not begun the ejection of a vCPU can be asked again, in milliseconds. */
const ASK_AGAIN_MS = 1000;

/** Time after which a removed vCPU counts as released although the guest has not confirmed it, in milliseconds. */
const CONFIRM_MS = 1000;

/** ACPI's notification value for an ejection request, which _OST repeats, and status values of _OST (ACPI 6.5, 6.3.5). */
const EJECT_REQUEST = 3;
const SUCCESS = 0;
const IN_PROGRESS = 0x84;

type Removals = Pick<Machine, 'detachingVcpus'>;

/** Returns a removal whose guest is asked now. */
export function newRemoval(): VcpuRemoval {
  return { asked: performance.now(), isAccepted: false, missingSince: undefined };
}

/** A vCPU that QEMU has. */
export interface PresentVcpu {
  readonly index: number;
  /** path in QEMU's object tree */
  readonly path: string;
}

/**
 * Asks the guest to release vCPUs, in this order. Those whose ejection the guest has begun, or was asked for a moment ago, are left out:
 * a guest that handles a second request late would eject the next vCPU in the same place. `request` asks for the vCPU of a path.
 * Rejects with the first error of `request`.
 */
export async function askForVcpus(
  { detachingVcpus }: Removals,
  vcpus: readonly PresentVcpu[],
  request: (path: string) => Promise<void>,
): Promise<void> {
  const asked = vcpus.filter(({ index }) => canAsk(detachingVcpus.get(index)));
  // sent at once, so that the guest notices all requests before its first ejection
  await Promise.all(
    asked.map(async ({ index, path }) => {
      detachingVcpus.set(index, newRemoval());
      try {
        await request(path);
      } catch (error) {
        // the guest has ejected it meanwhile, and will confirm that
        if (isDeviceMissing(error)) return;
        detachingVcpus.delete(index);
        throw error;
      }
    }),
  );
}

function canAsk(removal: VcpuRemoval | undefined): boolean {
  if (removal === undefined) return true;
  return !removal.isAccepted && performance.now() - removal.asked >= ASK_AGAIN_MS;
}

/**
 * Completes the removal of a vCPU when the guest confirms its ejection (ACPI _OST). QEMU has removed the vCPU before. Until the
 * confirmation the guest would mistake a vCPU in the same place for the removed one. A vCPU that the guest refuses to eject stays.
 */
export function noteVcpuEjected({ detachingVcpus }: Removals, message: QmpEvent): void {
  if (message.event !== 'ACPI_DEVICE_OST') return;
  const { 'slot-type': type, slot, source, status } = message.data.info;
  const vcpu = Number(slot);
  const removal = detachingVcpus.get(vcpu);
  if (type !== 'CPU' || source !== EJECT_REQUEST || removal === undefined) return;
  if (status === IN_PROGRESS) {
    detachingVcpus.set(vcpu, { ...removal, isAccepted: true });
    return;
  }
  if (status !== SUCCESS) log.warn(`vCPU ${vcpu}: the guest has not released it (_OST status ${status})`);
  detachingVcpus.delete(vcpu);
}

/**
 * Completes the removal of vCPUs that QEMU removed some time ago, for guests that confirm nothing. `isThere` returns true if QEMU has
 * the vCPU with a number.
 */
export function dropRemovedVcpus({ detachingVcpus }: Removals, isThere: (vcpu: number) => boolean): void {
  const now = performance.now();
  for (const [vcpu, removal] of detachingVcpus) {
    const missingSince = isThere(vcpu) ? undefined : (removal.missingSince ?? now);
    if (missingSince !== undefined && now - missingSince >= CONFIRM_MS) detachingVcpus.delete(vcpu);
    else detachingVcpus.set(vcpu, { ...removal, missingSince });
  }
}
