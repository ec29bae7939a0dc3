import { closeSync } from 'node:fs';
import type { NetConfig } from '../../../devices/net/config.ts';
import type { NetFacts } from '../../../devices/net/plan.ts';
import { acceptBackEnds, type BackEndConnections } from '../../../host/vhost-user/back-end-connections.ts';
import { startRelay } from '../../../host/vhost-user/relay-service.ts';
import { qemuUser } from '../../../qemu/process/confinement.ts';
import { reasonOf } from '../../../util/errno.ts';
import { createLog } from '../../../util/log.ts';
import { logWaiting } from '../../../util/log-waiting.ts';
import { listeningBackEnds } from '../vhost-user-back-end.ts';
import type { PrepareContext, Prepared } from '../prepare.ts';

const log = createLog('net');

/** Waits until a network's back-end listens, or has connected, and starts to relay between it and QEMU. */
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
  const backEnds = await (config.vhost_mode === 'Client'
    ? listeningBackEnds(path, { part: 'net', id, signal })
    : listen(path));
  let first: number | undefined;
  try {
    if (config.vhost_mode === 'Server') first = await connectedOne(path, backEnds, signal);
    const { frontEnd, stop } = await startRelay({ name: `net ${id}`, backEnds, first, owner: qemuUser() });
    const release = async (): Promise<void> => {
      await stop();
      backEnds[Symbol.dispose]();
    };
    return { facts: { mac: config.mac, fds: undefined, frontEnd }, config, release };
  } catch (error) {
    if (first !== undefined) closeSync(first);
    backEnds[Symbol.dispose]();
    throw error;
  }
}

function listen(path: string): Promise<BackEndConnections> {
  return acceptBackEnds(path).catch((error: unknown) => {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  });
}

async function connectedOne(
  path: string,
  backEnds: BackEndConnections,
  signal: AbortSignal,
): Promise<number> {
  using _waiting = logWaiting('net', `${path}: its back-end has not connected yet`);
  const fd = await backEnds.next(signal);
  if (fd === undefined) {
    throw new Error(`${path}: no back-end has connected; the wait for it was ended`);
  }
  return fd;
}
