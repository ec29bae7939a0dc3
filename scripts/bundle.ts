// Bundles of the executables: one file each, because many modules take longer to load than the rest of the start.
import { build } from 'esbuild';
import { COMMON, PROGRAMS, SDK_THREADS, THREADS } from './bundles.ts';

await Promise.all([
  ...Object.entries({ ...PROGRAMS, ...THREADS, ...SDK_THREADS }).map(([name, entry]) =>
    bundle(entry, `dist/${name}.cjs`, 'cjs'),
  ),
  // the library is a module, like the programs that import it
  bundle('build/src/sdk/index.js', 'dist/nephos.mjs', 'esm'),
]);

async function bundle(entry: string, outfile: string, format: 'cjs' | 'esm'): Promise<void> {
  // external: packages with machine code, and packages that are seldom loaded
  await build({ ...COMMON, entryPoints: [entry], outfile, format, external: ['koffi', 'prom-client'] });
}
