/** Result of a request: bytes of its reply without the header, a negative error, or 'none' where it has no reply. */
export type Outcome = number | 'none';
