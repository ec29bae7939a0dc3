/** How much of a guest's output waits for a reader before the guest is held back, in bytes. */
export const HOLD_BYTES = 16 * 2 ** 20;

/** At how many queued bytes a guest that was held back continues. */
export const RESUME_BYTES = HOLD_BYTES / 2;

/** How much waits where the guest cannot be held back, in bytes; the oldest beyond is dropped. */
export const MOST_BYTES = 2 * HOLD_BYTES;

/** How much output is kept while no client has the console open, in bytes: the newest is kept. */
export const UNREAD_BYTES = 65_536;

/** The host's end of a guest's console: a PTY, a UNIX socket or the VMM's own terminal. No method blocks. */
export interface HostConsole {
  /**
   * Gives output to the reader. Nothing is dropped while one has the console open and less than {@link MOST_BYTES} wait.
   * @returns false where more than {@link HOLD_BYTES} wait: the guest is to be held back until `onDrain` calls
   */
  readonly write: (bytes: Buffer) => boolean;
  /** Calls `resume` once, when the guest need not be held back any longer. */
  readonly onDrain: (resume: () => void) => void;
  /** Gives typed input to `take` from now on. */
  readonly onInput: (take: (bytes: Buffer) => void) => void;
  /** Stops reading input until `resumeInput`: the kernel holds back the client, and nothing is lost. */
  readonly pauseInput: () => void;
  readonly resumeInput: () => void;
  readonly dispose: () => void;
}
