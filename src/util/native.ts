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
