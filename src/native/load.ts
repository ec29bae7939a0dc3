import type { Duplex } from 'node:stream';
import type { LibraryHandle } from 'koffi';

type Koffi = Awaited<typeof import('koffi')>['default'];

/** The way to the C library: `libc.func('int close(int)')` declares what is called. */
export interface Native {
  readonly koffi: Koffi;
  readonly libc: LibraryHandle;
}

let loaded: Promise<Native> | undefined;

/** koffi is loaded on first use: it would cost every other start a few milliseconds. */
export function loadNative(): Promise<Native> {
  loaded ??= import('koffi').then(({ default: koffi }) => ({ koffi, libc: koffi.load(null) }));
  return loaded;
}

/**
 * The number behind a stream: Node has no documented way to it, but every version keeps it in its handle.
 * @throws where the stream is closed
 */
export function descriptorOf(stream: Duplex): number {
  const handle: unknown = '_handle' in stream ? stream._handle : undefined;
  const fd = typeof handle === 'object' && handle !== null && 'fd' in handle ? handle.fd : undefined;
  if (typeof fd !== 'number' || fd < 0) throw new Error('the connection is closed');
  return fd;
}
