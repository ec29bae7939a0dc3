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
  /** Exit code that the guest chose for its power-off (`systemctl exit`), 0 to 255 */
  readonly exitCode?: number;

  constructor(fault: RunFault, message: string, options?: ErrorOptions & { readonly exitCode?: number }) {
    super(message, options);
    this.fault = fault;
    if (options?.exitCode !== undefined) this.exitCode = options.exitCode;
  }
}
