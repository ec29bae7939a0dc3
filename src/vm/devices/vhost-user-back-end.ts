import type { BackEndFacts } from '../../devices/common/vhost-user.ts';
import { connectToBackEnds, type BackEndConnections } from '../../host/vhost-user/back-end-connections.ts';
import { startRelay } from '../../host/vhost-user/relay-service.ts';
import { waitForListener } from '../../host/vhost-user/wait-for-back-end.ts';
import { qemuUser } from '../../qemu/process/confinement.ts';
import { logWaiting } from '../../util/log-waiting.ts';
import type { Prepared } from './prepare.ts';

interface BackEndWait {
  /** kind of the device, for messages */
  readonly part: 'disk' | 'fs' | 'net';
  readonly id: string;
  /** aborts the wait */
  readonly signal: AbortSignal;
  /** see `startRelay` */
  readonly once?: boolean;
}

/** Waits until a device's back-end listens, and starts to relay between it and QEMU. */
export async function relayBackEnd(path: string, wait: BackEndWait): Promise<Prepared<never, BackEndFacts>> {
  const { part, id, once } = wait;
  const backEnds = await listeningBackEnds(path, wait);
  const { frontEnd, stop } = await startRelay({
    name: `${part} ${id}`,
    backEnds,
    first: undefined,
    owner: qemuUser(),
    ...(once === undefined ? {} : { once }),
  });
  return { facts: { frontEnd }, release: stop };
}

/** Waits until a back-end listens. Does not connect yet: see `startRelay`. */
export async function listeningBackEnds(
  path: string,
  { part, id, signal }: BackEndWait,
): Promise<BackEndConnections> {
  await waitForListener(path, { signal, onWait: (text) => logWaiting(part, `${part} ${id}: ${text}`) });
  return connectToBackEnds(path);
}
