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

/** Packages that are loaded on first use (src/guest/load-ssh2.ts), each a bundle of its own. */
export const LAZY_PACKAGES = {
  ssh2: 'node_modules/ssh2/lib/index.js',
} as const;

/** Optional machine code of ssh2, which does without it. */
export const OPTIONAL = ['cpu-features', '*.node'];

const { version }: { version: string } = JSON.parse(readFileSync('package.json', 'utf8'));

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
