import { ApiError } from '../../api/errors.ts';

/** Reason of an operation that is aborted by its client, or at its client's time limit. */
export class CancelledError extends ApiError {
  /** final state of the operation */
  readonly state: 'cancelled' | 'failed';

  constructor(state: CancelledError['state'], message: string) {
    super('failed', message);
    this.name = 'CancelledError';
    this.state = state;
  }
}
