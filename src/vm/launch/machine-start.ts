import { ApiError } from '../../api/errors.ts';
import type { Qemu } from '../../qemu/process/qemu.ts';
import { createCleanupStack } from '../../util/cleanup-stack.ts';
import { UNTRACKED, type OperationTracker, type RunningOperation } from '../../util/operation-tracker.ts';
import { onAbort, type ShutdownSignals } from '../../util/shutdown-signals.ts';
import { createPreparations, type Preparations } from '../devices/preparations.ts';
import { CancelledError } from '../registry/cancelled-error.ts';
import type { BootedMachine } from '../vm.ts';

/**
 * Owner of all resources of a start in progress. Its disposal closes the files that only the start needs. It releases all other
 * resources as well, unless {@link MachineStart.complete} was called.
 */
export interface MachineStart extends AsyncDisposable {
  readonly signals: ShutdownSignals;
  readonly tracker: OperationTracker;
  /** `performance.now()` at the beginning */
  readonly startedAt: number;
  /** host resources of the devices; the machine owns them when the start is complete */
  readonly preparations: Preparations;
  /** Closes a resource when the start is over, whether it succeeds or fails. */
  readonly hold: <T extends Disposable | AsyncDisposable>(resource: T) => T;
  /** Releases a resource if the start fails. */
  readonly own: <T extends Disposable | AsyncDisposable>(resource: T) => T;
  /** Stops QEMU if the start fails or is aborted. */
  readonly ownQemu: (qemu: Pick<Qemu, 'quit'>) => void;
  /** @throws ApiError if the VM is to be shut down or the operation is cancelled: a start that has waited must not continue then */
  readonly checkNotAborted: () => void;
  /** Returns the machine, which owns its resources from now on. @throws ApiError as `checkNotAborted` does */
  readonly complete: (booted: BootedMachine) => BootedMachine;
}

/** Begins a start; `signals` abort it. */
export function beginStart(signals: ShutdownSignals & Partial<RunningOperation>): MachineStart {
  const { tracker = UNTRACKED } = signals;
  const held = createCleanupStack();
  const owned = createCleanupStack();
  const preparations = createPreparations();
  owned.use({ [Symbol.asyncDispose]: () => preparations.releaseAll() });
  const checkNotAborted = (): void => {
    if (signals.kill.aborted) {
      const reason: unknown = signals.kill.reason;
      if (reason instanceof CancelledError) throw reason;
      throw new ApiError('failed', 'The start was ended: the VM is to be shut down');
    }
  };
  return {
    signals,
    tracker,
    startedAt: performance.now(),
    preparations,
    hold: held.use,
    own: owned.use,
    ownQemu: (qemu) => {
      owned.use({ [Symbol.asyncDispose]: () => qemu.quit() });
      // a QEMU that cannot be killed is reported when the start is disposed of
      const stopListening = onAbort(signals.kill, () => {
        qemu.quit().catch(() => undefined);
      });
      held.use({ [Symbol.dispose]: stopListening });
    },
    checkNotAborted,
    complete: (booted) => {
      checkNotAborted();
      tracker.commit('The machine has started');
      owned.disown();
      return booted;
    },
    [Symbol.asyncDispose]: async () => {
      await held[Symbol.asyncDispose]();
      await owned[Symbol.asyncDispose]();
    },
  };
}
