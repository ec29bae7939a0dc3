import type { PublishedPort } from '../../run/run-request.ts';

/** Returns the address of the host that a port is published at: `127.0.0.1:8080`, `[::1]:8080`. */
export function hostAddress({ address, hostPort }: PublishedPort): string {
  return `${address.includes(':') ? `[${address}]` : address}:${hostPort}`;
}

/** Returns `127.0.0.1:8080->80/tcp`. */
export function showPort(port: PublishedPort): string {
  return `${hostAddress(port)}->${port.guestPort}/${port.protocol}`;
}
