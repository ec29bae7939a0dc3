import { isIPv6 } from 'node:net';
import type { MonitorTarget } from '../host/system/event-monitor.ts';
import type { ListenAddress } from '../http/listener.ts';
import type { WebAddress } from '../web/listener.ts';
import { OptionError } from './flags.ts';

/**
 * Reads `--api-socket path=P`, `fd=N`, or a bare path. Any other text is a path, as in Cloud Hypervisor: `foo=bar` names a
 * file of that name.
 */
export function readApiSocket(text: string): ListenAddress {
  if (text.startsWith('fd=')) {
    return { fd: readDescriptor('api-socket', text.slice(3)) };
  }
  const path = text.startsWith('path=') ? text.slice(5) : text;
  if (path === '') throw new OptionError('Error parsing --api-socket: the path is empty');
  return { path };
}

/** Reads `--event-monitor path=P` or `fd=N`. A bare path is an error, unlike for `--api-socket`. */
export function readEventMonitor(text: string): MonitorTarget {
  const refuse = (why: string, hint?: string): OptionError =>
    new OptionError(`Error parsing --event-monitor: ${why}`, hint);
  const [, key, value = ''] = /^(path|fd)=(.*)$/s.exec(text) ?? [];
  if (key === undefined && text === '') throw refuse('path or fd required');
  if (key === undefined) {
    throw refuse(`unknown option: ${text}`, `did you mean path=${text.includes('=') ? '<path>' : text}?`);
  }
  if (value === '') throw refuse('path or fd required');
  if (key === 'path') return { path: value };
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(Number(value)))
    throw refuse(`unable to parse ${value} for fd`);
  return { fd: Number(value) };
}

/** Reads `path=P`, or a bare path, for a flag that names a socket. */
export function readPathOption(flag: string, text: string): string {
  const path = text.startsWith('path=') ? text.slice(5) : text;
  if (path === '')
    throw new OptionError(`Error parsing --${flag}: the path is empty`, 'expected path=<path>');
  return path;
}

/**
 * Reads `--web PORT`, `ADDRESS:PORT`, `path=P` or `fd=N`. A bare port is one of the loopback interface; port 0 lets the kernel
 * choose one.
 */
export function readWebAddress(text: string): WebAddress {
  if (text.startsWith('path=')) return { path: readPathOption('web', text) };
  if (text.startsWith('fd=')) return { fd: readDescriptor('web', text.slice(3)) };
  const [, bracketed, plain, port = ''] = /^(?:(?:\[([^\]]*)\]|([^:]*)):)?(\d+)$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? LOOPBACK;
  const isName = bracketed === undefined ? HOST_NAME.test(host) : isIPv6(host);
  if (port === '' || !isName || Number(port) > PORT_MAX)
    throw new OptionError(`Error parsing --web: '${text}' is not an address and a port`, WEB_HINT);
  return { host, port: Number(port) };
}

const LOOPBACK = '127.0.0.1';
const PORT_MAX = 65_535;
const HOST_NAME = /^[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?$/i;
const WEB_HINT = 'expected <port>, <address>:<port>, [<IPv6 address>]:<port>, path=<path> or fd=<fd>';

function readDescriptor(flag: string, text: string): number {
  const fd = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(fd)) return fd;
  throw new OptionError(`Error parsing --${flag}: invalid fd '${text}'`);
}
