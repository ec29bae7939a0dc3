import { ApiError } from '../../api/errors.ts';
import type { OperationInfo } from '../../api/operations.ts';
import type { Accepted, ClientOperation } from '../../api/route.ts';
import { createLog } from '../../util/log.ts';
import { CancelledError } from './cancelled-error.ts';
import { limitRate } from './limit-rate.ts';
import { TrackedOperation, type Outcome } from './tracked-operation.ts';

/*
 * Operations of clients that did not wait for the answer (`Prefer: respond-async`).
 *
 *   registry.ts            start, list and cancel
 *   tracked-operation.ts   one operation: states, progress, outcome; cancelled-error.ts: reason of its abort
 *   limit-rate.ts          rate of the progress events
 *
 * States: queued, running, then succeeded, failed or cancelled. An operation is cancelled by a signal that its handler gets; it is
 * `cancelled` when its handler has rejected, and has restored the VM. A committed operation cannot be cancelled.
 *
 * Invariants: at most `PENDING_MAX` operations are not complete, and `FINISHED_MAX` complete ones are kept. Ids are random.
 */

const log = createLog('operation');

/** Most operations that are queued or running, including cancelled ones that still have a place in the queue. */
const PENDING_MAX = 64;

/** Number of finished operations that are kept. */
const FINISHED_MAX = 64;

/** Called when an operation changes: at most 5 times a second for one operation, and at each change of its state. */
export type OnOperation = (operation: OperationInfo) => void;

/** A request that is to be served asynchronously. */
export interface OperationRequest {
  /** endpoint */
  readonly kind: string;
  /** time limit in `seconds` */
  readonly wait: number | undefined;
  readonly run: (operation: ClientOperation) => Promise<unknown>;
}

/** Operations of one VMM. */
export interface OperationRegistry {
  /** Starts a request. @throws ApiError `busy` if too many operations are pending */
  readonly start: (request: OperationRequest, startsNow: boolean) => Accepted;
  /** @throws ApiError `unknown-operation` */
  readonly get: (id: string) => OperationInfo;
  readonly list: () => readonly OperationInfo[];
  /**
   * Cancels an operation and waits until it has ended. A finished operation does not change.
   * Rejects with ApiError: `unknown-operation`, or `not-cancellable` with the reason.
   */
  readonly cancel: (id: string) => Promise<OperationInfo>;
}

/** Returns an empty registry. */
export function createRegistry(onOperation: OnOperation): OperationRegistry {
  const operations = new Map<string, TrackedOperation>();
  // in the order of their ends
  const finished: string[] = [];
  let pending = 0;
  const find = (id: string): TrackedOperation => {
    const operation = operations.get(id);
    if (operation !== undefined) return operation;
    throw new ApiError('unknown-operation', 'No operation has this id: it is unknown, or ended long ago');
  };
  return {
    start: ({ kind, wait, run }, startsNow) => {
      if (pending >= PENDING_MAX) {
        throw new ApiError('busy', `${PENDING_MAX} operations are pending already: wait for one of them`);
      }
      pending++;
      const id = crypto.randomUUID();
      const operation = new TrackedOperation({ id, kind, startsNow, onChange: () => events.change() });
      const events = limitRate(() => operation.info(), onOperation);
      operations.set(id, operation);
      events.change();
      const stopLimit = limitTime(operation, wait);
      const complete = (outcome: Outcome): void => {
        operation.settle(outcome);
        pending--;
        stopLimit();
        events.stop();
        logEnd(operation.info());
        finished.push(id);
        for (const oldest of finished.splice(0, finished.length - FINISHED_MAX)) operations.delete(oldest);
      };
      run(operation).then(
        (value) => complete({ value }),
        (error: unknown) => complete({ error }),
      );
      return { location: `vmm.operations/${id}`, body: operation.info() };
    },
    get: (id) => find(id).info(),
    list: () => [...operations.values()].map((operation) => operation.info()),
    cancel: async (id) => {
      const operation = find(id);
      const obstacle = operation.cancel(new CancelledError('cancelled', 'The operation was cancelled'));
      if (obstacle !== undefined) throw new ApiError('not-cancellable', obstacle);
      await operation.ended;
      return operation.info();
    },
  };
}

/** Longest time of a timer, in seconds; a longer limit has no effect. */
const TIMER_MAX_S = 2_000_000;

function limitTime(operation: TrackedOperation, seconds: number | undefined): () => void {
  if (seconds === undefined || seconds > TIMER_MAX_S) return () => undefined;
  const timer = setTimeout(() => operation.expire(seconds), seconds * 1000).unref();
  return () => clearTimeout(timer);
}

function logEnd({ kind, id, state, error }: OperationInfo): void {
  const reason = error === undefined ? '' : `: ${error.join(': ')}`;
  log[state === 'failed' ? 'error' : 'info'](`${kind} ${id} ${state}${reason}`);
}
