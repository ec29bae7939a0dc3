import type { QmpEvent } from '../../qemu/qmp/events.ts';
import type { Machine } from '../machine.ts';

/** Time after which a removed vCPU counts as released although the guest has not confirmed it, in milliseconds. */
const CONFIRM_MS = 1000;

/** ACPI's notification value for an ejection request, which _OST repeats, and its status for success (ACPI 6.5, 6.3.5). */
const EJECT_REQUEST = 3;
const SUCCESS = 0;

/**
 * Completes the removal of a vCPU when the guest confirms its ejection (ACPI _OST). QEMU has removed the vCPU before. Until the
 * confirmation the guest would mistake a vCPU in the same place for the removed one.
 */
export function noteVcpuEjected({ detachingVcpus }: Machine, message: QmpEvent): void {
  if (message.event !== 'ACPI_DEVICE_OST') return;
  const { 'slot-type': type, slot, source, status } = message.data.info;
  if (type === 'CPU' && source === EJECT_REQUEST && status === SUCCESS) detachingVcpus.delete(Number(slot));
}

/**
 * Completes the removal of vCPUs that QEMU removed some time ago, for guests that confirm nothing. `isThere` returns true if QEMU has
 * the vCPU with a number.
 */
export function dropRemovedVcpus(
  { detachingVcpus }: Pick<Machine, 'detachingVcpus'>,
  isThere: (vcpu: number) => boolean,
): void {
  const now = performance.now();
  for (const [vcpu, missingSince = now] of detachingVcpus) {
    if (isThere(vcpu)) detachingVcpus.set(vcpu, undefined);
    else if (now - missingSince >= CONFIRM_MS) detachingVcpus.delete(vcpu);
    else detachingVcpus.set(vcpu, missingSince);
  }
}
