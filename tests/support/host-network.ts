import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';

/** Returns a unique name for an interface. */
export function interfaceName(): string {
  return `t${randomBytes(5).toString('hex')}`;
}

/** Returns the names of the host's interfaces. */
export function interfaces(): string[] {
  return readdirSync('/sys/class/net');
}

/** One attribute of an interface of the host, e.g. `address`. */
export function attribute(name: string, which: string): string {
  return readFileSync(`/sys/class/net/${name}/${which}`, 'utf8').trim();
}

/** Runs `ip` and returns what it printed. */
export function ip(...words: string[]): string {
  return iproute('ip', words);
}

/** Runs `tc` and returns what it printed. */
export function tc(...words: string[]): string {
  return iproute('tc', words);
}

function iproute(tool: string, words: readonly string[]): string {
  return execFileSync(tool, words, {
    encoding: 'utf8',
    env: { PATH: `${process.env['PATH']}:/usr/sbin:/sbin` },
  });
}

/** Makes an interface until the test ends. */
export function withInterface(name: string, ...words: string[]): Disposable & { readonly name: string } {
  ip(...words);
  return {
    name,
    [Symbol.dispose]: () => {
      if (interfaces().includes(name)) ip('link', 'del', name);
    },
  };
}

/** The IPv4 addresses of an interface, e.g. `10.0.0.1/24`. */
export function addresses(name: string): string[] {
  return [...ip('-4', '-o', 'addr', 'show', 'dev', name).matchAll(/inet (\S+)/g)].map(([, one]) => one ?? '');
}
