import type { NetConfig, NetFacts } from '../../devices/net.ts';
import { waitForListener } from '../../host/wait-socket.ts';
import { reasonOf } from '../../util/errno.ts';
import { makeWayForSocket, removeDeadSocket } from '../../util/listening-socket.ts';
import { createLog } from '../../util/log.ts';
import { tellWaiting } from '../../util/waiting.ts';
import type { PrepareContext, Prepared } from './prepare.ts';

const log = createLog('net');

/** Waits until a network's back-end listens. In server mode QEMU listens, and the machine waits for the back-end. */
export async function prepareVhostUserNet(
  config: NetConfig & { readonly mac: string },
  { id, signal }: PrepareContext,
): Promise<Prepared<NetConfig, NetFacts>> {
  const ignored = [
    ...(config.tap === undefined ? [] : ['tap']),
    ...(config.host_mac === undefined ? [] : ['host_mac']),
    ...(config.iommu ? ['iommu'] : []),
  ];
  if (ignored.length > 0) log.warn(`net ${id}: ${ignored.join(', ')}: only its back-end can do this`);
  const path = config.vhost_socket ?? '';
  const prepared = { facts: { mac: config.mac, fds: undefined }, config };
  if (config.vhost_mode === 'Client') {
    await waitForListener(path, { signal, onWait: (text) => tellWaiting('net', `net ${id}: ${text}`) });
    return prepared;
  }
  await makeWayForSocket(path).catch((error: unknown) => {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  });
  // QEMU removes it, unless it was killed
  return { ...prepared, release: () => removeDeadSocket(path) };
}
