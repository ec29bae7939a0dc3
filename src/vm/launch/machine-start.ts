import { ApiError } from '../../api/errors.ts';
import type { Qemu } from '../../qemu/process/qemu.ts';
import { createCleanupStack } from '../../util/cleanup-stack.ts';
import { onAbort, type ShutdownSignals } from '../../util/shutdown-signals.ts';
import { createPreparations, type Preparations } from '../devices/preparations.ts';
import type { Live } from '../vm.ts';

/**
 * A start of a machine that is under way. It owns everything that the start makes: when it is disposed of, the files that only the
 * start needs are closed, and all the rest is released as well unless {@link MachineStart.complete} was called.
 */
export interface MachineStart extends AsyncDisposable {
  readonly signals: ShutdownSignals;
  /** `performance.now()` at the beginning */
  readonly startedAt: number;
  /** host resources of the devices: the machine's when the start is complete */
  readonly preparations: Preparations;
  /** Closes a resource when the start is over, whether it succeeds or fails. */
  readonly hold: <T extends Disposable | AsyncDisposable>(resource: T) => T;
  /** Releases a resource where the start fails. */
  readonly own: <T extends Disposable | AsyncDisposable>(resource: T) => T;
  /** Stops QEMU if the start fails or is aborted. */
  readonly ownQemu: (qemu: Pick<Qemu, 'quit'>) => void;
  /** @throws ApiError where the VM is to be shut down: a start that waited for long must not continue */
  readonly checkWanted: () => void;
  /** Returns the machine, which owns its resources from now on. @throws ApiError as `checkWanted` does */
  readonly complete: (live: Live) => Live;
}

/** Begins a start; `signals` abort it. */
export function beginStart(signals: ShutdownSignals): MachineStart {
  const held = createCleanupStack();
  const owned = createCleanupStack();
  const preparations = createPreparations();
  owned.use({ [Symbol.asyncDispose]: () => preparations.releaseAll() });
  const checkWanted = (): void => {
    if (signals.kill.aborted) {
      throw new ApiError('failed', 'The start was ended: the VM is to be shut down');
    }
  };
  return {
    signals,
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
    checkWanted,
    complete: (live) => {
      checkWanted();
      owned.disown();
      return live;
    },
    [Symbol.asyncDispose]: async () => {
      await held[Symbol.asyncDispose]();
      await owned[Symbol.asyncDispose]();
    },
  };
}
