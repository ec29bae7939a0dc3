import { isIP } from 'node:net';

/** Environment of a process. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Returns the proxy for a URL by the usual variables: HTTPS_PROXY, HTTP_PROXY (in lower case too) and NO_PROXY. Loopback addresses are
 * never reached through a proxy. @throws for a proxy that is not of HTTP
 */
export function proxyFor(url: URL, env: Environment = process.env): URL | undefined {
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const value = valueOf(env, name);
  if (value === '' || isLoopback(url.hostname) || isExcluded(url, valueOf(env, 'NO_PROXY'))) return undefined;
  const text = value.includes('://') ? value : `http://${value}`;
  const proxy = URL.canParse(text) ? new URL(text) : undefined;
  // its value can have a password
  if (proxy?.protocol !== 'http:')
    throw new Error(`${name} is not the URL of an HTTP proxy: write http://HOST:PORT`);
  return proxy;
}

function valueOf(env: Environment, name: string): string {
  return (env[name.toLowerCase()] ?? env[name] ?? '').trim();
}

/** Returns whether a host name of a URL is that of this machine. */
export function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (host === 'localhost' || host.endsWith('.localhost') || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}

/** `NO_PROXY`: `*`, host names with their subdomains, and each with a port. */
function isExcluded(url: URL, list: string): boolean {
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return list
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true;
      const [, host = '', wantedPort] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(entry) ?? [];
      if (wantedPort !== undefined && wantedPort !== port) return false;
      const name = host.replace(/^\*?\./, '');
      return name !== '' && (url.hostname === name || url.hostname.endsWith(`.${name}`));
    });
}
