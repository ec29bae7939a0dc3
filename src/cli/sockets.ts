import type { MonitorTarget } from '../host/system/event-monitor.ts';
import type { ListenAddress } from '../http/listener.ts';
import { OptionError } from './flags.ts';

/**
 * Reads `--api-socket path=P`, `fd=N`, or a bare path. Any other text is a path, as in Cloud Hypervisor: `foo=bar` names a
 * file of that name.
 */
export function readApiSocket(text: string): ListenAddress {
  if (text.startsWith('fd=')) {
    const fd = Number(text.slice(3));
    if (!/^\d+$/.test(text.slice(3)) || !Number.isSafeInteger(fd)) {
      throw new OptionError(`Error parsing --api-socket: invalid fd '${text.slice(3)}'`);
    }
    return { fd };
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
