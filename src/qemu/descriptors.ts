import type { MachinePlan } from '../devices/machine-plan.ts';

/** What one file descriptor of QEMU is for; its number is its place in the list plus {@link FIRST_DESCRIPTOR}. */
export type Descriptor =
  | { readonly use: 'qmp' }
  /** a stream between QEMU and the VMM, e.g. a console's bytes */
  | { readonly use: 'channel'; readonly id: string }
  /** a file that the VMM opens for QEMU to write: its path never becomes part of an option */
  | { readonly use: 'file'; readonly id: string; readonly path: string };

/** 0, 1 and 2 are the standard streams. */
export const FIRST_DESCRIPTOR = 3;

/** The descriptors that QEMU must be started with for a plan. */
export function planDescriptors(plan: MachinePlan): Descriptor[] {
  const descriptors: Descriptor[] = [{ use: 'qmp' }];
  for (const step of plan.steps) {
    if (step.kind !== 'chardev') continue;
    const { id, backend } = step;
    if (backend.type === 'channel') descriptors.push({ use: 'channel', id });
    if (backend.type === 'file') descriptors.push({ use: 'file', id, path: backend.path });
  }
  return descriptors;
}

/** The number of a chardev's descriptor in QEMU. */
export function descriptorOf(descriptors: readonly Descriptor[], id: string): number {
  const index = descriptors.findIndex((one) => one.use !== 'qmp' && one.id === id);
  if (index < 0) throw new Error(`no descriptor was planned for ${id}`);
  return FIRST_DESCRIPTOR + index;
}
