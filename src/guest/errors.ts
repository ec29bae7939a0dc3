/**
 * Reason why a call of a guest failed.
 *
 * - `connect`: the stream ended, or it is no SSH server that this client can use, before commands could run
 * - `login`: the server refused the user or the key
 * - `closed`: the connection ended
 * - `refused`: the server refused a session, a command, a terminal, or the SFTP subsystem
 * - `timeout`: the time limit expired
 * - `aborted`: the caller's signal fired
 * - `input`: the stream of a command's input failed
 * - `output`: a command had more output than the limit
 * - `no-exit`: the server ended a command without an exit code or a signal
 * - `transfer`: a file could not be copied
 * - `tcp`: the guest has no listener on the port
 */
export type GuestFault =
  | 'connect'
  | 'login'
  | 'closed'
  | 'refused'
  | 'timeout'
  | 'aborted'
  | 'input'
  | 'output'
  | 'no-exit'
  | 'transfer'
  | 'tcp';

/** A failed call of a guest. The message names the step; the cause has the reason. */
export class GuestError extends Error {
  override readonly name = 'GuestError';
  readonly fault: GuestFault;

  constructor(fault: GuestFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}
