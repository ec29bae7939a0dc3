import { net } from '../../../devices/net/index.ts';
import { queuePairs, type NetFacts } from '../../../devices/net/plan.ts';
import type { NetConfig } from '../../../devices/net/config.ts';
import { planFrameLimit } from '../../../devices/net/frame-limit.ts';
import { removeStaleTapLimits, limitTap } from '../../../host/net/tap-rate-limit.ts';
import { inspectTapDescriptors, openTap } from '../../../host/net/tap.ts';
import { countFrames } from '../../../host/net/interface-counters.ts';
import { randomMac } from '../../../host/net/random-mac.ts';
import { keepPorts } from './host-ports.ts';
import { prepares, type Prepared } from '../prepare.ts';
import { prepareVhostUserNet } from './prepare-vhost-user.ts';

/** Chooses the MAC address of a network, and opens its TAP or starts its relay, as the back-end needs. */
export const prepareNet = prepares(net, async (given, context) => {
  const config = { ...given, mac: given.mac ?? randomMac() };
  if (config.vhost_user) return prepareVhostUserNet(config, context);
  if (config.backend === 'user') {
    const forwards = await keepPorts(config.forwards, context.hostPorts);
    return { facts: { ...factsOf(config), forwards }, config };
  }
  return config.fd === undefined ? prepareTap(config) : prepareDescriptors(config, config.fd);
});

type Named = NetConfig & { readonly mac: string };
type PreparedNet = Prepared<NetConfig, NetFacts>;

async function prepareTap(config: Named): Promise<PreparedNet> {
  const tap = await openTap({
    name: config.tap,
    ip: config.ip,
    mask: config.mask,
    hostMac: config.host_mac,
    mtu: config.mtu,
    pairs: queuePairs(config),
  });
  try {
    const unlimit = await limit(tap.name, config);
    return {
      facts: factsOf(config, tap.fds),
      config: { ...config, host_mac: tap.hostMac },
      counters: countFrames(tap.name),
      release: async () => {
        await unlimit().finally(tap.close);
      },
    };
  } catch (error) {
    tap.close();
    throw error;
  }
}

/** Prepares a network on file descriptors of the parent process or a client. They stay open for the next boot. */
async function prepareDescriptors(config: Named, fds: readonly number[]): Promise<PreparedNet> {
  const name = await inspectTapDescriptors(fds);
  const release = await limit(name, config);
  return { facts: factsOf(config, fds), config, counters: countFrames(name), release };
}

/** Applies the rate limits to a TAP. @returns a function that removes them */
async function limit(tap: string, { rate_limiter_config: limits }: NetConfig): Promise<() => Promise<void>> {
  await removeStaleTapLimits(tap);
  const frames = planFrameLimit(limits);
  return frames === undefined ? async () => {} : limitTap(tap, frames);
}

function factsOf({ mac }: Named, fds?: readonly number[]): NetFacts {
  return { mac, fds };
}
