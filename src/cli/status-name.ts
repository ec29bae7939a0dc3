import { STATUS_CODES } from 'node:http';

/** Returns the name of a status, e.g. `MethodNotAllowed` for 405. Cloud Hypervisor's ch-remote names 400, 404, 500 and 501 only. */
export function statusName(status: number): string {
  return STATUS_CODES[status]?.replaceAll(/[^A-Za-z]/g, '') ?? 'Unknown';
}
