import type { ShutdownSignals } from './shutdown-signals.ts';

/** Progress of a step, in `bytes`; the step changes `done`, and `total` may grow. */
export interface TrackedAmount {
  readonly done: number;
  readonly total: number;
}

/** The part of an operation that its client can observe and cancel. */
export interface OperationTracker {
  /** false if no client observes the operation */
  readonly isTracked: boolean;
  /** Enters a step. The current values of `amount` are the progress of the step. */
  readonly enter: (phase: string, amount?: TrackedAmount) => void;
  /**
   * Makes the operation impossible to cancel, for a reason that its client receives.
   * @throws the reason of the signals if the operation is cancelled already
   */
  readonly commit: (reason: string) => void;
}

/** An operation that runs: signals that abort it, and its tracker. */
export interface RunningOperation extends ShutdownSignals {
  readonly tracker: OperationTracker;
}

/** Tracker of an operation that no client observes. */
export const UNTRACKED: OperationTracker = {
  isTracked: false,
  enter: () => undefined,
  commit: () => undefined,
};
