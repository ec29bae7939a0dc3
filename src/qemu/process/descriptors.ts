import type { MachinePlan } from '../../devices/common/machine-plan.ts';
import type { Step } from '../../devices/common/step.ts';

/** What one file descriptor of QEMU is for; its number is its place in the list plus {@link FIRST_DESCRIPTOR}. */
export type Descriptor =
  | { readonly use: 'qmp' }
  /** a stream between QEMU and the VMM, e.g. a console's bytes */
  | { readonly use: 'channel'; readonly id: string; readonly waits: boolean }
  /** a file that the VMM opens for QEMU to write: its path never becomes part of an option */
  | { readonly use: 'file'; readonly id: string; readonly path: string }
  /** a descriptor of the VMM's, which stays open there */
  | { readonly use: 'given'; readonly id: string; readonly fd: number }
  /** a file of the VMM's that QEMU opens anew by the descriptor, as it may not by its path */
  | { readonly use: 'handed'; readonly path: string; readonly fd: number };

/** 0, 1 and 2 are the standard streams. */
export const FIRST_DESCRIPTOR = 3;

/** The descriptors that QEMU must be started with for what is in its arguments. */
export function planDescriptors({
  steps,
  handed,
  debugger: listener,
}: Pick<MachinePlan, 'steps' | 'handed' | 'debugger'>): Descriptor[] {
  const files = [...handed].map(([path, fd]) => ({ use: 'handed', path, fd }) as const);
  const debug = listener === undefined ? [] : [{ use: 'given', id: DEBUGGER, fd: listener } as const];
  return [{ use: 'qmp' }, ...steps.flatMap(descriptorsFor), ...debug, ...files];
}

/** Id of the connection to a debugger. */
export const DEBUGGER = 'gdb';

function descriptorsFor(step: Step): Descriptor[] {
  if (step.kind === 'netdev') return (step.fds ?? []).map((fd) => ({ use: 'given', id: step.props.id, fd }));
  if (step.kind !== 'chardev') return [];
  const { id, backend } = step;
  switch (backend.type) {
    case 'channel':
      return [{ use: 'channel', id, waits: backend.waits }];
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
  return descriptors.flatMap((one, i) => ('id' in one && one.id === id ? [FIRST_DESCRIPTOR + i] : []));
}

/** The number of a chardev's descriptor in QEMU. */
export function descriptorOf(descriptors: readonly Descriptor[], id: string): number {
  const [fd] = descriptorsOf(descriptors, id);
  if (fd === undefined) throw new Error(`no descriptor was planned for ${id}`);
  return fd;
}

/** By what path QEMU opens a file; only Linux has names for open files that open them anew. */
export function pathInQemu(descriptors: readonly Descriptor[], path: string): string {
  const index = descriptors.findIndex((one) => one.use === 'handed' && one.path === path);
  return index < 0 || process.platform !== 'linux' ? path : openedPath(index);
}

/** QEMU's words about files that it opened by descriptors, with the paths that the plan has. */
export function withPlanPaths(words: string, descriptors: readonly Descriptor[]): string {
  return descriptors.reduceRight(
    (text, one, i) => (one.use === 'handed' ? text.replaceAll(openedPath(i), () => one.path) : text),
    words,
  );
}

function openedPath(index: number): string {
  return `/proc/self/fd/${FIRST_DESCRIPTOR + index}`;
}
