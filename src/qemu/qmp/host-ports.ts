import type { PortForward } from '../../devices/net/port-forward.ts';
import type { Qmp } from './connection.ts';

/** A network of backend `user`, by the id of its back-end in QEMU. */
export interface ForwardingNet {
  readonly id: string;
  readonly forwards: readonly PortForward[];
}

/** Returns the host port on which QEMU listens, for each forward of each network. Rejects if one is missing. */
export async function queryHostPorts(qmp: Qmp, nets: readonly ForwardingNet[]): Promise<readonly number[][]> {
  // no QMP command returns the ports
  const command = { 'command-line': 'info usernet' };
  const text = await qmp.execute('human-monitor-command', command);
  return nets.map((net) => hostPortsIn(text, net));
}

interface Listener {
  readonly protocol: string;
  readonly address: string;
  readonly hostPort: number;
  readonly guestPort: number;
}

/**
 * Finds the ports of a network's forwards in the output of `info usernet`.
 * @throws Error if one is missing
 */
export function hostPortsIn(text: string, { id, forwards }: ForwardingNet): number[] {
  const left = listenersOf(text, id);
  const take = (forward: PortForward): number => {
    const at = left.findIndex((one) => isFor(one, forward));
    const [found] = at < 0 ? [] : left.splice(at, 1);
    if (found === undefined)
      throw new Error(`QEMU does not listen for the forward to port ${forward.guest_port}`);
    return found.hostPort;
  };
  // configured ports first: listeners on ports that QEMU chose are indistinguishable
  const given = new Map(forwards.filter(({ host_port: port }) => port !== 0).map((one) => [one, take(one)]));
  return forwards.map((one) => given.get(one) ?? take(one));
}

function isFor({ protocol, address, hostPort, guestPort }: Listener, forward: PortForward): boolean {
  return (
    protocol === forward.protocol &&
    address === forward.host_address &&
    guestPort === forward.guest_port &&
    (forward.host_port === 0 || hostPort === forward.host_port)
  );
}

const HEADING = /^Hub -?\d+ \((.*)\):$/;
/** `TCP[HOST_FORWARD]  11  127.0.0.1 32791  10.0.2.15  22  0  0`; `*` is any address. */
const LISTENER = /^\s*(TCP|UDP)\[HOST_FORWARD\]\s+\S+\s+(\S+)\s+(\d+)\s+\S+\s+(\d+)\s/;

function listenersOf(text: string, id: string): Listener[] {
  const listeners: Listener[] = [];
  let isOwn = false;
  for (const line of text.split(/\r?\n/)) {
    const heading = HEADING.exec(line);
    if (heading !== null) isOwn = heading[1] === id;
    const [, protocol, address, hostPort, guestPort] = LISTENER.exec(line) ?? [];
    if (!isOwn || protocol === undefined) continue;
    listeners.push({
      protocol: protocol.toLowerCase(),
      address: address === '*' ? '0.0.0.0' : String(address),
      hostPort: Number(hostPort),
      guestPort: Number(guestPort),
    });
  }
  return listeners;
}
