import type { QmpEvent } from '../../qemu/qmp/events.ts';
import type { Machine } from '../machine.ts';

/** How long a guest that no longer has a vCPU may take to confirm it before that is taken for granted, in milliseconds. */
const CONFIRM_MS = 1000;

/** ACPI's notification value for an ejection request, which _OST repeats, and its status for success (ACPI 6.5, 6.3.5). */
const EJECT_REQUEST = 3;
const SUCCESS = 0;

/**
 * Forgets a leaving vCPU when the guest confirms its ejection (ACPI _OST). QEMU has removed it before; until it confirms, the guest still
 * looks at the vCPU's place, and would take one that is added there for the old one.
 */
export function noteVcpuEjected({ detachingVcpus }: Machine, message: QmpEvent): void {
  if (message.event !== 'ACPI_DEVICE_OST') return;
  const { 'slot-type': type, slot, source, status } = message.data.info;
  if (type === 'CPU' && source === EJECT_REQUEST && status === SUCCESS) detachingVcpus.delete(Number(slot));
}

/** Forgets leaving vCPUs that QEMU has removed a while ago, for guests that confirm nothing. `isThere`: by number. */
export function forgetRemovedVcpus({ detachingVcpus }: Machine, isThere: (vcpu: number) => boolean): void {
  const now = performance.now();
  for (const [vcpu, missingSince = now] of detachingVcpus) {
    if (isThere(vcpu)) detachingVcpus.set(vcpu, undefined);
    else if (now - missingSince >= CONFIRM_MS) detachingVcpus.delete(vcpu);
    else detachingVcpus.set(vcpu, missingSince);
  }
}
