/**
 * Reason of a RunError.
 *
 * - `invalid`: the request cannot be run on any host
 * - `name-taken`, `not-found`, `running`, `not-running`: of a VM directory
 * - `unsafe`: a directory that another user can write
 * - `start`: the VM did not start
 * - `crashed`: the guest crashed, panicked or reset in a loop
 */
export type RunFault =
  | 'invalid'
  | 'name-taken'
  | 'not-found'
  | 'running'
  | 'not-running'
  | 'unsafe'
  | 'start'
  | 'crashed';

/** A run, or an access to a VM directory, that failed. The message is for the user. */
export class RunError extends Error {
  override readonly name = 'RunError';
  readonly fault: RunFault;

  constructor(fault: RunFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}
