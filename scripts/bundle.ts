// The executables' bundles: one file each, because loading many modules costs more than all we do at start.
import { existsSync, readFileSync } from 'node:fs';
import { build } from 'esbuild';

const entries = {
  'cloud-hypervisor': 'build/src/main.js',
  'ch-remote': 'build/src/cli/remote.js',
  // a thread of the first
  'vsock-worker': 'build/src/backends/vsock/worker.js',
};

const { version }: { version: string } = JSON.parse(readFileSync('package.json', 'utf8'));

await Promise.all([
  ...Object.entries(entries).map(([name, entry]) => bundle(name, entry, 'cjs')),
  // the library is a module, as those who import it are
  bundle('nephos', 'build/src/sdk/index.js', 'esm'),
]);

async function bundle(name: string, entry: string, format: 'cjs' | 'esm'): Promise<void> {
  const outfile = `dist/${name}.${format === 'cjs' ? 'cjs' : 'mjs'}`;
  if (!existsSync(entry)) {
    console.warn(`bundle: ${entry} does not exist yet, no ${outfile}`);
    return;
  }
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format,
    target: 'node20',
    sourcemap: true,
    // what comes with machine code, and what is seldom asked for
    external: ['koffi', 'prom-client'],
    define: { NEPHOS_VERSION: JSON.stringify(version) },
    logLevel: 'warning',
    // files beside a module are found in another way in a bundle
    logOverride: { 'empty-import-meta': 'silent' },
  });
}
