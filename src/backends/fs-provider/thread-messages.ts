import type { StopCommand, ThreadMessage } from '../device-thread.ts';
import type { Notice, Operation, OperationName, Outcome, ResultOf } from './operations.ts';

/** Options of the thread of a share. */
export interface ShareThreadOptions {
  /** the listening socket, which the thread closes */
  readonly listener: number;
  /** time limit of a call in `milliseconds` */
  readonly timeoutMs: number;
  /** most calls at a time */
  readonly concurrency: number;
}

/** A message to the thread, beside `stop`. After each, its eventfd is written to. */
export type ShareCommand =
  | { readonly kind: 'result'; readonly id: number; readonly outcome: Outcome<ResultOf<OperationName>> }
  /** from now on each request fails with ENOTCONN; the thread stops when the front-end disconnects */
  | { readonly kind: 'close' };

/** A message to the thread. */
export type ToThread = ShareCommand | StopCommand;

/** A message to the main thread. */
export type FromThread =
  /** the thread listens; the eventfd `wake` wakes it */
  | { readonly kind: 'ready'; readonly wake: number }
  | { readonly kind: 'call'; readonly id: number; readonly operation: Operation }
  | { readonly kind: 'notice'; readonly notice: Notice }
  /** nothing waits for the result of a call any more */
  | { readonly kind: 'abort'; readonly id: number }
  | { readonly kind: 'connected' }
  | { readonly kind: 'disconnected' }
  | Extract<ThreadMessage, { kind: 'log' | 'failed' }>;
