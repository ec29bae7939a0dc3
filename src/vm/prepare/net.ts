import { randomBytes } from 'node:crypto';
import { net, queuePairs, type NetConfig, type NetFacts } from '../../devices/net.ts';
import { inspectTapDescriptors, openTap } from '../../host/tap.ts';
import { countFrames } from '../../host/frame-counters.ts';
import { prepares, type Prepared } from './prepare.ts';

/** Networks get their MAC address here, and their TAP where they have one. */
export const prepareNet = prepares(net, async (given) => {
  const config = { ...given, mac: given.mac ?? randomMac() };
  if (config.vhost_user || config.backend === 'user') return { facts: factsOf(config), config };
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
    pairs: queuePairs(config),
  });
  return {
    facts: factsOf(config, tap.fds),
    config: { ...config, host_mac: tap.hostMac },
    counters: countFrames(tap.name),
    release: tap.close,
  };
}

/** They were opened by whoever started this process, and stay open for the next boot. */
async function prepareDescriptors(config: Named, fds: readonly number[]): Promise<PreparedNet> {
  const name = await inspectTapDescriptors(fds);
  return { facts: factsOf(config, fds), config, counters: countFrames(name) };
}

function factsOf({ mac }: Named, fds?: readonly number[]): NetFacts {
  return { mac, fds };
}

/** A locally administered unicast address, with the first byte of the original's. */
function randomMac(): string {
  return [0x2e, ...randomBytes(5)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
