/** The guest tools cannot be made. The message says what is missing on this host, and what to do. */
export class GuestToolsError extends Error {
  override readonly name = 'GuestToolsError';
}
