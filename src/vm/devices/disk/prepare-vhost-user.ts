import type { DiskConfig } from '../../../devices/disk/config.ts';
import { createLog } from '../../../util/log.ts';
import { relayBackEnd } from '../vhost-user-back-end.ts';
import type { PrepareContext } from '../prepare.ts';

const log = createLog('disk');

/** Waits for the back-end of a vhost-user disk, and logs the settings that only the back-end can apply. */
export async function prepareVhostUserDisk(config: DiskConfig, { id, signal }: PrepareContext) {
  const ignored = [
    ...(config.readonly ? ['readonly'] : []),
    ...(config.direct ? ['direct'] : []),
    ...(config.iommu ? ['iommu'] : []),
    ...(config.rate_limiter_config === undefined ? [] : ['rate_limiter_config']),
    // the default is `true`
    ...(config.poll_queue ? [] : ['poll_queue']),
  ];
  if (ignored.length > 0) log.warn(`disk ${id}: ${ignored.join(', ')}: only its back-end can do this`);
  return relayBackEnd(config.vhost_socket ?? '', { part: 'disk', id, signal });
}
