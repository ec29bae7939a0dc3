import { isIP } from 'node:net';
import type { BoundAddress } from './listener.ts';

/*
 * Names under which browsers may reach the page. A site that lets its own name point to this machine (DNS rebinding) sends that name
 * as `Host`, and a page of another site sends its own `Origin`.
 */

/** Returns true if a `Host` header names the address of the page. */
export type HostCheck = (host: string | undefined) => boolean;

/**
 * Returns the check of `Host` headers for an address. `said` is the name or address of the command line, if there is one. A
 * loopback address has the name `localhost` too, and an address of all interfaces every address of IP, because only names can be
 * rebound. A UNIX socket is reached through a forwarded port of any number: its names are those of the loopback interface.
 */
export function hostCheck(bound: BoundAddress, said?: string): HostCheck {
  if ('path' in bound) return (host) => isLoopbackName(splitHost(host)?.name);
  const { address, port } = bound;
  const names = new Set([address.toLowerCase(), ...(said === undefined ? [] : [said.toLowerCase()])]);
  if (isLoopbackAddress(address) || isWildcard(address)) names.add('localhost');
  return (host) => {
    const parts = splitHost(host);
    if (parts === undefined || (parts.port ?? HTTP_PORT) !== port) return false;
    return names.has(parts.name) || (isWildcard(address) && isIP(parts.name) !== 0);
  };
}

/** Returns true if an `Origin` header is the page itself, at a `Host` that was checked. */
export function isOwnOrigin(origin: string, host: string): boolean {
  return origin.toLowerCase() === `http://${host.toLowerCase()}`;
}

/** Returns true if other machines cannot reach an address. */
export function isLoopbackAddress(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127\./.test(address);
}

/** Returns the name of an address in a URL: IPv6 addresses have brackets there. */
export function urlHost({ address, port }: Extract<BoundAddress, { port: number }>, said?: string): string {
  // an address of all interfaces is none that a browser can open
  const name = isWildcard(address) ? (address === '::' ? '::1' : '127.0.0.1') : (said ?? address);
  return `${isIP(name) === 6 ? `[${name}]` : name}:${port}`;
}

const HTTP_PORT = 80;

function isWildcard(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

function isLoopbackName(name: string | undefined): boolean {
  return name !== undefined && (name === 'localhost' || (isIP(name) !== 0 && isLoopbackAddress(name)));
}

/** Splits `name:port`; the name is in lower case, an IPv6 address without brackets. Undefined where it is malformed. */
function splitHost(host = ''): { readonly name: string; readonly port: number | undefined } | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::(\d{1,5}))?$/i.exec(host);
  if (match === null) return undefined;
  const [, address, name, port] = match;
  if (address !== undefined && isIP(address) !== 6) return undefined;
  return { name: (address ?? name ?? '').toLowerCase(), port: port === undefined ? undefined : Number(port) };
}
