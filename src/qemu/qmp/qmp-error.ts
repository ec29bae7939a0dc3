/** A command that QEMU refused or did not answer, or whose reply does not fit its schema. */
export class QmpError extends Error {
  readonly command: string;
  /** QEMU's description of the error, or the reason why there is no usable reply */
  readonly reason: string;
  /** QEMU gave no answer in time */
  readonly hangs: boolean;
  /** path of the member of the reply that does not fit, e.g. `0.data.size`; undefined: the reply is not the problem */
  readonly member: string | undefined;
  /** QEMU's class of the error (QapiErrorClass), e.g. `DeviceNotFound`; undefined: the error is not QEMU's */
  readonly errorClass: string | undefined;

  constructor(
    command: string,
    reason: string,
    { hangs = false, member, errorClass, ...options }: QmpErrorOptions = {},
  ) {
    super(`${command}: ${reason}`, options);
    this.name = 'QmpError';
    this.command = command;
    this.reason = reason;
    this.hangs = hangs;
    this.member = member;
    this.errorClass = errorClass;
  }
}

interface QmpErrorOptions extends ErrorOptions {
  readonly hangs?: boolean;
  readonly member?: string;
  readonly errorClass?: string;
}

/** Returns true if QEMU does not have a command. */
export function isCommandMissing(error: unknown): boolean {
  return error instanceof QmpError && error.errorClass === 'CommandNotFound';
}

/** Returns true if QEMU refused a command because it has no such device. */
export function isDeviceMissing(error: unknown): boolean {
  return error instanceof QmpError && error.errorClass === 'DeviceNotFound';
}
