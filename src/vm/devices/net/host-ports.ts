import type { VmConfig } from '../../../config/vm-config.ts';
import type { AnyConfig } from '../../../devices/device.ts';
import { net } from '../../../devices/net/index.ts';
import type { NetConfig } from '../../../devices/net/config.ts';
import type { PortForward } from '../../../devices/net/port-forward.ts';
import { isPortFree } from '../../../host/net/free-port.ts';
import { qemuId, type Placement } from '../../../plan/placement.ts';
import { queryHostPorts } from '../../../qemu/qmp/host-ports.ts';
import type { Qmp } from '../../../qemu/qmp/connection.ts';
import { logNotice } from '../../../util/log.ts';

/*
 * Forwards with `host_port` 0. The configuration keeps the 0, so that a clone gets ports of its own; vm.info shows the ports
 * of the running machine. QEMU chooses and binds them, then reports them, so no other program can bind one in between.
 */

/** Host port of each forward, in the order of the configuration, by the id of the network. */
export type HostPorts = ReadonlyMap<string, readonly number[]>;

/** Queries the ports of networks with forwards whose ports QEMU chose. */
export async function askHostPorts(qmp: Qmp, placements: readonly Placement[]): Promise<HostPorts> {
  const nets = placements.flatMap(({ device, id, config }) => {
    const forwards = device === net ? forwardsOf(config) : [];
    return forwards.some(isChosen) ? [{ id, forwards }] : [];
  });
  if (nets.length === 0) return new Map();
  const ports = await queryHostPorts(
    qmp,
    nets.map(({ id, forwards }) => ({ id: qemuId(id), forwards })),
  );
  const known = new Map(nets.map(({ id }, i) => [id, ports[i] ?? []]));
  for (const { id, forwards } of nets) logPorts(id, forwards, known.get(id) ?? []);
  return known;
}

function logPorts(id: string, forwards: readonly PortForward[], ports: readonly number[]): void {
  for (const [i, { protocol, host_address: address, guest_port: guest }] of forwards.entries())
    logNotice(
      'net',
      `net ${id}: ${protocol} port ${ports[i]} of ${address} leads to port ${guest} of the guest`,
    );
}

/** Returns the configuration with the ports of the running machine. */
export function withHostPorts(config: VmConfig, ports: HostPorts): VmConfig {
  if (ports.size === 0) return config;
  return { ...config, net: config.net?.map((one) => withPorts(one, ports.get(one.id ?? ''))) };
}

function withPorts(config: NetConfig, ports: readonly number[] | undefined): NetConfig {
  if (ports === undefined) return config;
  const forwards = config.forwards?.map((one, i) => ({ ...one, host_port: ports[i] ?? one.host_port }));
  return { ...config, forwards };
}

/** Returns the forwards with the ports of the previous machine, as far as these are still free. */
export async function keepPorts(
  forwards: readonly PortForward[] | undefined,
  before: readonly number[] | undefined,
): Promise<readonly PortForward[] | undefined> {
  if (forwards === undefined || before === undefined) return forwards;
  const kept: PortForward[] = [];
  for (const [i, one] of forwards.entries()) {
    const wish = isChosen(one) ? { ...one, host_port: before[i] ?? 0 } : one;
    kept.push((await isPortFree(wish)) ? wish : one);
  }
  return kept;
}

function isChosen({ host_port: port }: PortForward): boolean {
  return port === 0;
}

/** Returns the forwards of a placement of `net`, whose configuration was checked. */
function forwardsOf(config: AnyConfig): readonly PortForward[] {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return (config as NetConfig).forwards ?? [];
}
