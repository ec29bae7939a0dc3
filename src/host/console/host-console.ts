/*
 * The host's side of a guest's console: a PTY, a UNIX socket or the VMM's own terminal. Its owner is `vm/consoles.ts`, which
 * copies between it and QEMU's chardev.
 *
 * Invariants: no call blocks. Output is held back or dropped only at the limits below. Input is read only while the guest reads it.
 * The guest never decides what is opened, and its bytes go to the reader unchanged.
 */

/** Queued output at which the guest is held back, in bytes. */
export const HOLD_BYTES = 16 * 2 ** 20;

/** Queued output at which a guest that was held back continues, in bytes. */
export const RESUME_BYTES = HOLD_BYTES / 2;

/** Most queued output where the guest cannot be held back, in bytes; the oldest beyond is dropped. */
export const MOST_BYTES = 2 * HOLD_BYTES;

/** Output that is kept while no client has the console open, in bytes: the newest. */
export const UNREAD_BYTES = 65_536;

/** The host's end of a guest's console: a PTY, a UNIX socket or the VMM's own terminal. No method blocks. */
export interface HostConsole {
  /**
   * Writes output to the reader. None is dropped while one has the console open and less than {@link MOST_BYTES} are queued.
   * @returns false where more than {@link HOLD_BYTES} are queued: the guest must be held back until `onDrain` calls
   */
  readonly write: (bytes: Buffer) => boolean;
  /** Calls `resume` once, when the guest may continue. */
  readonly onDrain: (resume: () => void) => void;
  /** Passes typed input to `take` from now on. */
  readonly onInput: (take: (bytes: Buffer) => void) => void;
  /** Stops reading input until `resumeInput`: the kernel holds back the client, and nothing is lost. */
  readonly pauseInput: () => void;
  readonly resumeInput: () => void;
  readonly dispose: () => void;
}
