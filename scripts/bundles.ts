// Sources of the bundles, and the options that all bundles share.
import { readFileSync } from 'node:fs';
import type { BuildOptions } from 'esbuild';

/** Programs that a user starts, and the entry of each. */
export const PROGRAMS = {
  'cloud-hypervisor': 'build/src/main.js',
  'ch-remote': 'build/src/cli/remote.js',
  nephos: 'build/src/cli/nephos/main.js',
} as const;

/** Threads of `cloud-hypervisor` (src/util/start-thread.ts starts them by these names). */
export const THREADS = {
  'vsock-worker': 'build/src/backends/vsock/worker.js',
  'fs-worker': 'build/src/backends/fs/worker.js',
} as const;

/** Threads of the SDK, which the executables have no use for. */
export const SDK_THREADS = {
  'fs-provider-worker': 'build/src/backends/fs-provider/worker.js',
} as const;

/** Packages that are loaded on first use (src/guest/load-ssh2.ts, src/util/load-ws.ts), each a bundle of its own. */
export const LAZY_PACKAGES = {
  ssh2: 'node_modules/ssh2/lib/index.js',
  ws: 'node_modules/ws/index.js',
} as const;

/** Optional machine code of ssh2 and ws, which do without it. */
export const OPTIONAL = ['cpu-features', 'bufferutil', 'utf-8-validate', '*.node'];

const version = versionOf('package.json');

/** Version of koffi, whose native library the bundles of `dist/` load without its package. */
export const KOFFI_VERSION = versionOf('node_modules/koffi/package.json');

function versionOf(file: string): string {
  const { version: found }: { version: string } = JSON.parse(readFileSync(file, 'utf8'));
  return found;
}

export const COMMON: BuildOptions = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  sourcemap: true,
  define: { NEPHOS_VERSION: JSON.stringify(version) },
  logLevel: 'warning',
  // a bundle finds the files beside a module in another way
  logOverride: { 'empty-import-meta': 'silent' },
};

/** Files of the page for browsers (src/web/): two bundles, and files that are copied. */
export const PAGE = {
  entry: 'src/web/page/ui/main.tsx',
  folder: 'dist/web',
  copied: ['index.html', 'icon.svg'],
} as const;
