import { errorChain, ApiError } from '../../api/errors.ts';
import type { OperationInfo, OperationProgress, OperationState } from '../../api/operations.ts';
import type { ClientOperation } from '../../api/route.ts';
import type { TrackedAmount } from '../../util/operation-tracker.ts';
import { deferred } from '../../util/deferred.ts';
import { CancelledError } from './cancelled-error.ts';

/** Identity of a new operation. */
export interface NewOperation {
  readonly id: string;
  readonly kind: string;
  /** it starts at once: no other operation is before it */
  readonly startsNow: boolean;
  /** called when its state or its step changes */
  readonly onChange: () => void;
}

/** Result of a handler. */
export type Outcome = { readonly value: unknown } | { readonly error: unknown };

/** An operation of a client, from its request on. Its handler sees it as `ClientOperation`. */
export class TrackedOperation implements ClientOperation {
  readonly id: string;
  readonly isTracked = true;
  readonly #kind: string;
  readonly #onChange: () => void;
  readonly #cancelling = new AbortController();
  readonly #expiring = new AbortController();
  readonly #ended = deferred<void>();
  readonly #queued = now();
  #state: OperationState;
  #phase: string | undefined;
  #amount: TrackedAmount | undefined;
  /** reason why it cannot be cancelled any more */
  #committed: string | undefined;
  #outcome: Outcome | undefined;
  #started: string | undefined;
  #finished: string | undefined;

  constructor({ id, kind, startsNow, onChange }: NewOperation) {
    this.id = id;
    this.#kind = kind;
    this.#onChange = onChange;
    this.#state = startsNow ? 'running' : 'queued';
    this.#started = startsNow ? this.#queued : undefined;
  }

  get signal(): AbortSignal {
    return this.#cancelling.signal;
  }

  get expired(): AbortSignal {
    return this.#expiring.signal;
  }

  begin(): void {
    this.signal.throwIfAborted();
    if (this.#state !== 'queued') return;
    this.#state = 'running';
    this.#started = now();
    this.#onChange();
  }

  enter(phase: string, amount?: TrackedAmount): void {
    this.#phase = phase;
    this.#amount = amount;
    this.#onChange();
  }

  commit(reason: string): void {
    this.signal.throwIfAborted();
    this.#committed ??= reason;
  }

  get isFinished(): boolean {
    return this.#finished !== undefined;
  }

  /** Settles when the operation is in a final state. Never rejects. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Aborts the operation unless it is committed or finished. @returns the reason if it cannot be cancelled */
  cancel(reason: CancelledError): string | undefined {
    if (this.isFinished) return undefined;
    if (this.#committed === undefined) this.#abort(reason);
    return this.#committed;
  }

  /** Aborts the operation at its client's time limit, in `seconds`; a committed one only stops its wait. */
  expire(limit: number): void {
    const reason = new CancelledError('failed', `It was not complete after ${limit} s`);
    this.cancel(reason);
    this.#expiring.abort(reason);
  }

  /** Records the result of the handler. */
  settle(outcome: Outcome): void {
    if ('value' in outcome) return this.#finish('succeeded', outcome);
    const reason: unknown = this.signal.reason;
    this.#finish(reason instanceof CancelledError ? reason.state : 'failed', outcome);
  }

  /** Returns the answer of vmm.operation. */
  info(): OperationInfo {
    const [id, kind, state, error] = [this.id, this.#kind, this.#state, errorOf(this.#outcome)];
    return {
      ...{ id, kind, state },
      cancellable: !this.isFinished && this.#committed === undefined,
      progress: progressOf(this.#phase, this.#amount),
      result: resultOf(this.#outcome),
      error: error && [`${kind} failed`, ...errorChain(error)],
      code: error && codeOf(error),
      ...{ queued: this.#queued, started: this.#started, finished: this.#finished },
    };
  }

  #abort(reason: CancelledError): void {
    this.#cancelling.abort(reason);
    // a queued operation has changed nothing; its turn in the queue passes without effect
    if (this.#state === 'queued') this.#finish(reason.state, { error: reason });
  }

  #finish(state: OperationState, outcome: Outcome): void {
    if (this.isFinished) return;
    this.#state = state;
    this.#outcome = outcome;
    this.#finished = now();
    // the handler may continue to change the amount after an abort
    this.#amount = this.#amount && { ...this.#amount };
    this.#ended.resolve();
    this.#onChange();
  }
}

function progressOf(
  phase: string | undefined,
  amount: TrackedAmount | undefined,
): OperationProgress | undefined {
  if (phase === undefined) return undefined;
  const unit = amount === undefined ? undefined : 'bytes';
  return { phase, done: amount?.done, total: amount?.total, unit };
}

function errorOf(outcome: Outcome | undefined): Error | undefined {
  if (outcome === undefined || 'value' in outcome) return undefined;
  const { error } = outcome;
  return error instanceof Error ? error : new Error(String(error), { cause: error });
}

function codeOf(error: unknown): NonNullable<OperationInfo['code']> {
  return error instanceof ApiError ? error.code : 'failed';
}

function resultOf(outcome: Outcome | undefined): OperationInfo['result'] {
  if (outcome === undefined || !('value' in outcome)) return undefined;
  const { value } = outcome;
  return typeof value === 'object' && value !== null ? { ...value } : undefined;
}

function now(): string {
  return new Date().toISOString();
}
