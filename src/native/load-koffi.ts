import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { besideBundle } from '../util/beside-bundle.ts';

type Koffi = Awaited<typeof import('koffi')>['default'];

/** Version of the package koffi; defined by scripts/bundle.ts for bundles in `dist/`. */
declare const KOFFI_VERSION: string;

/**
 * Loads koffi. A bundle in `dist/` loads its native library directly, in 1 ms; through the package, with eight files and checks of the
 * platform, it takes 8 ms. The package is loaded where the library is absent, cannot be loaded, or has another version.
 */
export async function loadKoffi(): Promise<Koffi> {
  if (typeof KOFFI_VERSION === 'string') {
    const own = besideBundle('.');
    const library = findLibrary(typeof own === 'string' ? own : fileURLToPath(own));
    const koffi = library === undefined ? undefined : loadLibrary(library, KOFFI_VERSION);
    if (koffi !== undefined) return koffi;
  }
  return (await import('koffi')).default;
}

/** Returns koffi's library for this platform, beside the package that Node's search for modules finds from `folder`. */
export function findLibrary(folder: string): string | undefined {
  const { platform, arch } = process;
  for (let at = folder; ; at = dirname(at)) {
    const found = join(at, 'node_modules', 'koffi');
    if (existsSync(found)) {
      const packages = join(realpathSync(found), '..', '@koromix');
      const file = join(packages, `koffi-${platform}-${arch}`, `${platform}_${arch}`, 'koffi.node');
      return existsSync(file) ? file : undefined;
    }
    if (at === dirname(at)) return undefined;
  }
}

/** Loads koffi's native library; undefined where it cannot be loaded, as that of another C library, or has another version. */
export function loadLibrary(file: string, version: string): Koffi | undefined {
  const loaded: { exports: unknown } = { exports: {} };
  try {
    process.dlopen(loaded, file);
  } catch {
    // the package says why, where it fails as well
    return undefined;
  }
  return isKoffi(loaded.exports) && loaded.exports.version === version ? loaded.exports : undefined;
}

function isKoffi(value: unknown): value is Koffi & { readonly version: unknown } {
  return typeof value === 'object' && value !== null && 'load' in value && 'version' in value;
}
