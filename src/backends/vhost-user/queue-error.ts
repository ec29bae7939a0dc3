/** A broken rule of the ring, by the guest's driver: its device does nothing more until it is reset. */
export class QueueError extends Error {
  /** first words of a line about it */
  readonly fault: string = "the guest's driver broke a rule";
}

/** The memory of the guest cannot be reached, mostly as QEMU has exited: its device does nothing more until it is reset. */
export class MemoryError extends QueueError {
  override readonly fault = "the guest's memory cannot be reached";
}
