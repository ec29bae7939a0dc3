import type { MonitorTarget } from '../host/event-monitor.ts';
import type { ListenAddress } from '../http/listener.ts';
import { UsageError } from './flags.ts';

/**
 * Reads `--api-socket path=P`, `fd=N`, or a bare path. What is neither is a path as a whole,
 * as the original has it: `foo=bar` names a file of that name.
 */
export function readApiSocket(text: string): ListenAddress {
  if (text.startsWith('fd=')) {
    const fd = Number(text.slice(3));
    if (!/^\d+$/.test(text.slice(3)) || !Number.isSafeInteger(fd)) {
      throw new UsageError(`Error parsing --api-socket: invalid fd '${text.slice(3)}'`);
    }
    return { fd };
  }
  const path = text.startsWith('path=') ? text.slice(5) : text;
  if (path === '') throw new UsageError('Error parsing --api-socket: the path is empty');
  return { path };
}

/** Reads `--event-monitor path=P` or `fd=N`; unlike the API's socket it has no short form (reference/events.md 1). */
export function readEventMonitor(text: string): MonitorTarget {
  const refuse = (why: string): UsageError => new UsageError(`Error parsing --event-monitor: ${why}`);
  const [, key, value = ''] = /^(path|fd)=(.*)$/s.exec(text) ?? [];
  if (key === undefined) throw refuse(text === '' ? 'path or fd required' : `unknown option: ${text}`);
  if (value === '') throw refuse('path or fd required');
  if (key === 'path') return { path: value };
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(Number(value)))
    throw refuse(`unable to parse ${value} for fd`);
  return { fd: Number(value) };
}

/** Reads `--metrics path=P`, or a bare path. */
export function readMetrics(text: string): string {
  const path = text.startsWith('path=') ? text.slice(5) : text;
  if (path === '') throw new UsageError('Error parsing --metrics: the path is empty');
  return path;
}
