import type { ReplyBody } from './client.ts';
import { ForkError } from './errors.ts';
import { forkProblem, makeForkFolder, removeForkFolder, type CloneOverrides } from './fork-folder.ts';
import type { VmmOptions } from './vmm-process.ts';

/** Options of `VirtualMachine.fork`. */
export interface ForkOptions extends VmmOptions {
  /** Run the clones at once; by default true */
  readonly resume?: boolean;
  /** Returns further changes to the configuration of a clone, by its number from 0 on: its TAPs, for example */
  readonly overrides?: (index: number) => CloneOverrides;
}

/** Operations of a VM that can be forked. */
export interface Forkable<T> {
  readonly config: ReplyBody<'vm.info'>['config'];
  /** Writes a snapshot, and does further work while the VM is paused */
  readonly snapshot: (directory: string, whilePaused: () => Promise<void>) => Promise<void>;
  /** Starts a clone, which calls `onDisposed` when it is disposed of */
  readonly restore: (directory: string, overrides: CloneOverrides, onDisposed: () => void) => Promise<T>;
}

/** Makes clones of a VM. Their folder is removed with the last one. Rejects after all clones have ended. @throws ForkError */
export async function forkVm<T extends AsyncDisposable>(
  { config, snapshot, restore }: Forkable<T>,
  count: number,
  overrides: ForkOptions['overrides'],
): Promise<T[]> {
  if (count < 1) return [];
  const problem = forkProblem(config, overrides?.(0) ?? {});
  if (problem !== undefined) throw new ForkError(problem);
  const folder = await makeForkFolder();
  let left = count;
  const onDisposed = (): void => {
    left -= 1;
    if (left === 0) removeForkFolder(folder.path);
  };
  const clones: T[] = [];
  try {
    await snapshot(folder.snapshot, () => folder.copyDisks(config));
    const starts = Array.from({ length: count }, async (_, index) => {
      const own = await folder.prepareClone(config, index);
      clones[index] = await restore(folder.snapshot, { ...own, ...overrides?.(index) }, onDisposed);
    });
    const failed = (await Promise.allSettled(starts)).find((one) => one.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return clones;
  } catch (error) {
    await Promise.all(Object.values(clones).map((clone) => clone[Symbol.asyncDispose]()));
    removeForkFolder(folder.path);
    throw error;
  }
}
