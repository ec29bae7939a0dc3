import type { Step } from '../devices/step.ts';

/** What one file descriptor of QEMU is for; its number is its place in the list plus {@link FIRST_DESCRIPTOR}. */
export type Descriptor =
  | { readonly use: 'qmp' }
  /** a stream between QEMU and the VMM, e.g. a console's bytes */
  | { readonly use: 'channel'; readonly id: string }
  /** a file that the VMM opens for QEMU to write: its path never becomes part of an option */
  | { readonly use: 'file'; readonly id: string; readonly path: string }
  /** a descriptor of the VMM's, which stays open there */
  | { readonly use: 'given'; readonly id: string; readonly fd: number };

/** 0, 1 and 2 are the standard streams. */
export const FIRST_DESCRIPTOR = 3;

/** The descriptors that QEMU must be started with for the steps that are its arguments. */
export function planDescriptors(steps: readonly Step[]): Descriptor[] {
  return [{ use: 'qmp' }, ...steps.flatMap(descriptorsFor)];
}

function descriptorsFor(step: Step): Descriptor[] {
  if (step.kind === 'netdev') return (step.fds ?? []).map((fd) => ({ use: 'given', id: step.props.id, fd }));
  if (step.kind !== 'chardev') return [];
  const { id, backend } = step;
  switch (backend.type) {
    case 'channel':
      return [{ use: 'channel', id }];
    case 'file':
      return [{ use: 'file', id, path: backend.path }];
    case 'descriptor':
      return [{ use: 'given', id, fd: backend.fd }];
    case 'null':
    case 'socket':
      return [];
  }
}

/** The numbers that a part's descriptors have in QEMU, in the order of the plan. */
export function descriptorsOf(descriptors: readonly Descriptor[], id: string): number[] {
  return descriptors.flatMap((one, i) => (one.use !== 'qmp' && one.id === id ? [FIRST_DESCRIPTOR + i] : []));
}

/** The number of a chardev's descriptor in QEMU. */
export function descriptorOf(descriptors: readonly Descriptor[], id: string): number {
  const [fd] = descriptorsOf(descriptors, id);
  if (fd === undefined) throw new Error(`no descriptor was planned for ${id}`);
  return fd;
}
