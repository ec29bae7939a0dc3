import type { NetConnectOpts } from 'node:net';
import { ApiError } from '../../api/errors.ts';

/**
 * Returns the address in a migration URL: `unix:<path>`, or `tcp:<host>:<port>` with an IPv6 address in brackets. The path is not
 * percent-decoded.
 * @throws ApiError `bad-request`
 */
export function addressOf(url: string): NetConnectOpts {
  const unix = /^unix:(.+)$/s.exec(url);
  if (unix?.[1] !== undefined) return { path: unix[1] };
  const tcp = /^tcp:(?:\[([^[\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(url);
  const host = tcp?.[1] ?? tcp?.[2];
  const port = Number(tcp?.[3]);
  if (host !== undefined && port > 0 && port < 65_536) return { host, port };
  throw new ApiError(
    'bad-request',
    `Could not extract path from URL: ${url} (expected unix:<path> or tcp:<host>:<port>)`,
  );
}
