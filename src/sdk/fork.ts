import type { ReplyBody } from './client.ts';
import { ForkError } from './errors.ts';
import { forkProblem, makeForkFolder, removeForkFolder, type CloneOverrides } from './fork-folder.ts';
import type { GuestOptions } from './guest-link.ts';
import type { VmmOptions } from './vmm-process.ts';

/** Options of `VirtualMachine.fork`. */
export interface ForkOptions extends VmmOptions {
  /** Run the clones at once; by default true */
  readonly resume?: boolean;
  /** Returns further changes to the configuration of a clone, by its number from 0 on: its TAPs, for example */
  readonly overrides?: (index: number) => CloneOverrides;
  /**
   * Give the guest of each clone an identity of its own before the promise settles: clock, random numbers, host name, machine-id and SSH host
   * keys, by a command of root over SSH. By default it is done where the VM has the option `guest`, or an open connection to its guest, with
   * root as its user. `true` fails where it is impossible
   */
  readonly identity?: boolean;
  /** Returns the host name of a clone; by default that of the VM with a random end */
  readonly hostname?: (index: number) => string;
}

/** Operations of a VM that can be forked. */
export interface Forkable<T> {
  readonly config: ReplyBody<'vm.info'>['config'];
  /** Writes a snapshot, and does further work while the VM is paused */
  readonly snapshot: (directory: string, whilePaused: () => Promise<void>) => Promise<void>;
  /** Starts a clone, which calls `onDisposed` when it is disposed of */
  readonly restore: (directory: string, overrides: CloneOverrides, onDisposed: () => void) => Promise<T>;
  /** Gives the guest of a clone an identity of its own */
  readonly identify: (clone: T, hostname: string | undefined) => Promise<void>;
}

/** Longest host name of Linux, in bytes. */
const HOSTNAME_BYTES = 64;

/** Checks the options of a fork. @throws ForkError */
export function checkForkOptions({ identity, hostname, resume }: ForkOptions, count: number): void {
  if (hostname !== undefined) {
    if (identity === false) throw new ForkError('the option hostname needs the identity of a clone');
    for (let index = 0; index < count; index++) checkHostname(hostname(index));
  }
  if (resume === false && (identity === true || hostname !== undefined))
    throw new ForkError('a clone that does not run cannot get an identity of its own: leave out resume');
}

function checkHostname(name: string): void {
  if (/^[\w.-]+$/.test(name) && name.length <= HOSTNAME_BYTES) return;
  throw new ForkError(
    `${JSON.stringify(name)} is no host name: use 1 to ${HOSTNAME_BYTES} letters, digits, "_", "." and "-"`,
  );
}

/** A VM to fork: its configuration, and the way to its guest. */
export interface ForkSource {
  readonly config: { readonly vsock?: unknown };
  readonly guest: GuestOptions;
  /** It has an open connection to its guest */
  readonly isConnected: boolean;
}

/** Returns whether the guests of clones get an identity of their own. By default they do where the VM is used by SSH, as root. */
export function wantsIdentity(
  { identity, hostname, resume }: ForkOptions,
  { config, guest, isConnected }: ForkSource,
): boolean {
  if (identity !== undefined || hostname !== undefined) return identity ?? true;
  const isUsed = isConnected || Object.keys(guest).length > 0;
  // a clone is reached by its own vsock alone
  return resume !== false && config.vsock !== undefined && (guest.user ?? 'root') === 'root' && isUsed;
}

/** Makes clones of a VM. Their folder is removed with the last one. Rejects after all clones have ended. @throws ForkError */
export async function forkVm<T extends AsyncDisposable>(
  { config, snapshot, restore, identify }: Forkable<T>,
  count: number,
  { overrides, hostname }: Pick<ForkOptions, 'overrides' | 'hostname'>,
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
      const clone = await restore(folder.snapshot, { ...own, ...overrides?.(index) }, onDisposed);
      clones[index] = clone;
      await identify(clone, hostname?.(index));
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
