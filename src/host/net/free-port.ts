import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { PortForward } from '../../devices/net/port-forward.ts';

type Listener = Pick<PortForward, 'protocol' | 'host_address' | 'host_port'>;

/** Returns whether this process can listen on a port now. */
export async function isPortFree({
  protocol,
  host_address: host,
  host_port: port,
}: Listener): Promise<boolean> {
  try {
    await (protocol === 'tcp' ? tryTcp(host, port) : tryUdp(host, port));
    return true;
  } catch {
    return false;
  }
}

async function tryTcp(host: string, port: number): Promise<void> {
  const server = createServer().listen({ host, port, exclusive: true });
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
}

async function tryUdp(address: string, port: number): Promise<void> {
  const socket = createSocket('udp4');
  socket.bind({ address, port, exclusive: true });
  await once(socket, 'listening');
  socket.close();
}
