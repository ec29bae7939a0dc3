import type { MachinePlan } from '../../devices/common/machine-plan.ts';
import type { Step } from '../../devices/common/step.ts';

/** Use of one file descriptor of QEMU. Its number is its index in the list plus {@link FIRST_DESCRIPTOR}. */
export type Descriptor =
  | { readonly use: 'qmp' }
  /** a stream between QEMU and the VMM, e.g. a console's bytes */
  | { readonly use: 'channel'; readonly id: string; readonly waits: boolean }
  /** an output file that the VMM opens: its path never becomes part of an option */
  | { readonly use: 'file'; readonly id: string; readonly path: string }
  /** a descriptor of the VMM, which keeps its own copy */
  | { readonly use: 'given'; readonly id: string; readonly fd: number }
  /** an open file of the VMM: QEMU opens it again by the descriptor, as it may not be allowed to open the path */
  | { readonly use: 'inherited'; readonly path: string; readonly fd: number };

/** Number of the first descriptor: 0, 1 and 2 are the standard streams. */
export const FIRST_DESCRIPTOR = 3;

/** Id of the set of descriptors: no file descriptor has this number, and those are the ids of sets on the command line. */
export const FDSET = 1_000_000;

/** Returns the descriptors that the arguments of a plan name. */
export function planDescriptors({
  steps,
  inherited,
  debugger: listener,
  stateFile,
}: Pick<MachinePlan, 'steps' | 'inherited' | 'debugger' | 'stateFile'>): Descriptor[] {
  const files = [...inherited].map(([path, fd]) => ({ use: 'inherited', path, fd }) as const);
  const debug = listener === undefined ? [] : [{ use: 'given', id: DEBUGGER, fd: listener } as const];
  const state = stateFile === undefined ? [] : [{ use: 'given', id: STATE_FILE, fd: stateFile } as const];
  return [{ use: 'qmp' }, ...steps.flatMap(descriptorsFor), ...debug, ...files, ...state];
}

/** Id of the file with the state that QEMU loads; no id of a device has a space. */
export const STATE_FILE = 'state file';

/** Id of the debugger's chardev. */
export const DEBUGGER = 'gdb';

function descriptorsFor(step: Step): Descriptor[] {
  if (step.kind === 'netdev') return (step.fds ?? []).map((fd) => ({ use: 'given', id: step.props.id, fd }));
  if (step.kind !== 'chardev') return [];
  const { id, backend } = step;
  switch (backend.type) {
    case 'channel':
      return [{ use: 'channel', id, waits: backend.waits }, ...fileOf(id, backend.file)];
    case 'file':
      return fileOf(id, backend.path);
    case 'descriptor':
      return [{ use: 'given', id, fd: backend.fd }];
    case 'null':
    case 'ringbuf':
    case 'socket':
      return [];
  }
}

function fileOf(id: string, path: string | undefined): Descriptor[] {
  return path === undefined ? [] : [{ use: 'file', id, path }];
}

/** Returns the numbers in QEMU of the descriptors of part `id`, in the order of the plan. */
export function descriptorsOf(descriptors: readonly Descriptor[], id: string): number[] {
  return descriptors.flatMap((one, i) => ('id' in one && one.id === id ? [FIRST_DESCRIPTOR + i] : []));
}

/** Returns the number in QEMU of the descriptor of chardev `id`. */
export function descriptorOf(descriptors: readonly Descriptor[], id: string): number {
  const [fd] = descriptorsOf(descriptors, id);
  if (fd === undefined) throw new Error(`no descriptor was planned for ${id}`);
  return fd;
}

/** Returns the path by which QEMU opens a file: on Linux that of its descriptor, on other hosts `path`. */
export function pathInQemu(descriptors: readonly Descriptor[], path: string): string {
  const index = descriptors.findIndex((one) => one.use === 'inherited' && one.path === path);
  return index < 0 || process.platform !== 'linux' ? path : descriptorPath(index);
}

/** Returns the number in QEMU of the descriptor of an inherited file. */
export function descriptorOfFile(descriptors: readonly Descriptor[], path: string): number {
  const index = descriptors.findIndex((one) => one.use === 'inherited' && one.path === path);
  if (index < 0) throw new Error(`no descriptor was planned for ${path}`);
  return FIRST_DESCRIPTOR + index;
}

/** Replaces the paths of descriptors in a message of QEMU by the paths in the plan. */
export function withPlanPaths(message: string, descriptors: readonly Descriptor[]): string {
  return descriptors.reduceRight(
    (text, one, i) => (one.use === 'inherited' ? text.replaceAll(descriptorPath(i), () => one.path) : text),
    message,
  );
}

function descriptorPath(index: number): string {
  return `/proc/self/fd/${FIRST_DESCRIPTOR + index}`;
}
