/** URL of the folder of a snapshot. */
export const FILE_URL = { pattern: '^file:///[^\\x00]*$' } as const;

/** URL of a live migration: a UNIX socket, or host and port; an IPv6 address is in brackets. */
export const SOCKET_URL = {
  pattern: '^(unix:[^\\x00]+|tcp:(\\[[^\\[\\]\\x00]+\\]|[^:\\[\\]\\x00]+):[0-9]{1,5})$',
} as const;
