import { Stock, type Taken } from './stock.ts';
import { VirtualMachine, type RestoreOptions } from './virtual-machine.ts';
import { startVmm, type VmmOptions, type VmmProcess, type VmmSource } from './vmm-process.ts';

/** Options of {@link VmmPool.start}. */
export interface VmmPoolOptions extends Omit<VmmOptions, 'socketPath' | 'pool'> {
  /** Number of VMMs that are kept ready, from 0 to 1000 */
  readonly size: number;
  /** Time until a VMM that was taken is replaced, in `milliseconds`; 1000 by default, so that its VM starts first */
  readonly refillDelayMs?: number;
  /**
   * Each VMM keeps a thread ready (`--spare-thread`): VMs with a vsock or a shared directory start faster. Takes 7 MiB of each VMM that
   * waits; false by default
   */
  readonly spareThread?: boolean;
}

/** Options of {@link VmmPool.restore}: the VMM has the executable and the arguments of the pool. */
export type PoolRestoreOptions = Omit<
  RestoreOptions,
  'executable' | 'socketPath' | 'args' | 'startTimeoutMs' | 'endTimeoutMs' | 'pool'
>;

/** Options of {@link VmmPool.take}. */
export interface TakeOptions {
  /** Ends the wait for a VMM */
  readonly signal?: AbortSignal;
}

/** Most VMMs of a pool. */
const SIZE_MAX = 1000;

const REFILL_DELAY_MS = 1000;

/** First delay after a VMM could not be started, in milliseconds; it doubles up to half a minute. */
const FAILURE_DELAY_MS = 500;

/**
 * VMMs that are started in advance, without a VM. A restore then takes the time of QEMU alone.
 *
 * ```ts
 * await using pool = await VmmPool.start({ size: 4 });
 * await using vm = await pool.restore('/var/lib/snapshots/web');
 * ```
 *
 * Each VMM is used once. It is replaced in the background: one start at a time, a second after its VM has started. Without a ready VMM a call
 * waits for the start of one. A VMM that was taken belongs to its caller. The others end with the pool, and with this process.
 */
export class VmmPool implements VmmSource, AsyncDisposable {
  readonly #stock: Stock<VmmProcess>;

  private constructor({
    size,
    refillDelayMs = REFILL_DELAY_MS,
    spareThread = false,
    ...options
  }: VmmPoolOptions) {
    const args = [...(spareThread ? ['--spare-thread'] : []), ...(options.args ?? [])];
    this.#stock = new Stock({
      size,
      start: (signal) => startVmm({ ...options, args, signal }),
      refillDelayMs,
      failureDelayMs: FAILURE_DELAY_MS,
    });
  }

  /**
   * Starts the VMMs, and returns when all are ready. `options.signal` aborts this start.
   * @throws {LaunchError} if a VMM cannot start, or on abort; nothing is left then
   * @throws {RangeError} for a size that is no integer from 0 to 1000
   */
  static async start(options: VmmPoolOptions): Promise<VmmPool> {
    const { size, signal } = options;
    if (!Number.isInteger(size) || size < 0 || size > SIZE_MAX)
      throw new RangeError(`the size of a pool is an integer from 0 to ${SIZE_MAX}, not ${size}`);
    const pool = new VmmPool(options);
    try {
      await pool.#stock.fill(signal);
      return pool;
    } catch (error) {
      await pool[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Number of VMMs that are ready */
  get ready(): number {
    return this.#stock.ready;
  }

  /** Reason why the last VMM could not be started, or exited before its use; undefined if the last start succeeded */
  get failure(): Error | undefined {
    return this.#stock.failure;
  }

  /**
   * Takes a VMM without a VM. The caller disposes of it.
   * @throws {LaunchError} if none is ready and none can start, on abort, or if the pool is closed
   */
  async take({ signal }: TakeOptions = {}): Promise<VmmProcess> {
    const { item, replace } = await this.#stock.take(signal);
    replace();
    return item;
  }

  /**
   * Restores a snapshot in a VMM of the pool; as {@link VirtualMachine.restore}. `VirtualMachine.launch` and `fork` take the pool as an option.
   * @throws as {@link VirtualMachine.restore} and {@link take}
   */
  async restore(directory: string, options: PoolRestoreOptions = {}): Promise<VirtualMachine> {
    let taken: Taken<VmmProcess> | undefined;
    const take = async ({ signal }: TakeOptions): Promise<VmmProcess> => {
      taken = await this.#stock.take(signal);
      return taken.item;
    };
    try {
      return await VirtualMachine.restore(directory, { ...options, pool: { take } });
    } finally {
      taken?.replace();
    }
  }

  /** Ends the VMMs that were not taken, and aborts their starts. Calls that wait for a VMM reject. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stock[Symbol.asyncDispose]();
  }
}
