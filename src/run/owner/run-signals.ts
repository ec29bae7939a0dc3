import { constants } from 'node:os';
import type { RunExit } from './command-exit.ts';

/** Signals that are forwarded to the command, as docker does. */
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;
type Forwarded = (typeof FORWARDED)[number];

/** Signals that ask for the end of the run. */
const ENDING: readonly Forwarded[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];

/** Number of signals of one kind that end a run whose command ignores them. */
const FORCE_COUNT: Readonly<Partial<Record<Forwarded, number>>> = {
  SIGINT: 3,
  SIGTERM: 2,
  SIGHUP: 2,
  SIGQUIT: 3,
};

/** Time after SIGTERM and SIGHUP until the VM is ended, in milliseconds: docker's. */
const GRACE_MS = 10_000;

/** Signals of this process during a run. */
export interface RunSignals extends Disposable {
  /** Aborted by a signal before there is a command; the reason is a {@link RunExit} */
  readonly start: AbortSignal;
  /** Aborted where the command does not end; the reason is a {@link RunExit} */
  readonly stop: AbortSignal;
  /** Forwards signals to a command from now on. `termination` is sent for SIGTERM. A signal before ends the run: `stop` is aborted */
  readonly forward: (kill: (signal: string) => void, termination?: string) => void;
}

/** Signals of a run that other processes send, too. */
export interface ProcessSignals extends RunSignals {
  /** Takes a signal, e.g. `SIGTERM`, as one of this process; others than those that are forwarded are ignored */
  readonly deliver: (signal: string) => void;
  /** Ends the run at once. */
  readonly stopWith: (exit: RunExit) => void;
  /** Passes all signals on instead of taking them. */
  readonly passTo: (send: (signal: string) => void) => void;
}

/**
 * Takes the signals of this process, until it is disposed of. Before there is a command they abort the start. They are then forwarded; the VM
 * ends where the command does not end within 10 s after SIGTERM or SIGHUP, and at the second SIGTERM or third SIGINT.
 */
export function takeSignals(): ProcessSignals {
  const [start, stop] = [new AbortController(), new AbortController()];
  const counts = new Map<Forwarded, number>();
  let send: ((signal: Forwarded) => void) | undefined;
  let timer: NodeJS.Timeout | undefined;
  let pass: ((signal: string) => void) | undefined;
  const onSignal = (signal: Forwarded): void => {
    if (pass !== undefined) return pass(signal);
    const count = (counts.get(signal) ?? 0) + 1;
    counts.set(signal, count);
    const exit: RunExit = { code: 128 + constants.signals[signal], reason: signal };
    if (send === undefined) {
      if (ENDING.includes(signal)) start.abort(exit);
      return;
    }
    if (count >= (FORCE_COUNT[signal] ?? Infinity)) return stop.abort(exit);
    if (signal === 'SIGTERM' || signal === 'SIGHUP') timer ??= setTimeout(() => stop.abort(exit), GRACE_MS);
    send(signal);
  };
  for (const signal of FORWARDED) process.on(signal, onSignal);
  return {
    start: start.signal,
    stop: stop.signal,
    deliver: (signal) => {
      const known = FORWARDED.find((one) => one === signal);
      if (known !== undefined) onSignal(known);
    },
    stopWith: (exit) => stop.abort(exit),
    passTo: (next) => {
      pass = next;
    },
    forward: (kill, termination = 'SIGTERM') => {
      send = (signal) => kill((signal === 'SIGTERM' ? termination : signal).replace(/^SIG/, ''));
      // a signal while the command was being started
      if (start.signal.aborted) stop.abort(start.signal.reason);
    },
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      for (const signal of FORWARDED) process.off(signal, onSignal);
    },
  };
}
