// Bundles of the executables: one file each, because many modules take longer to load than the rest of the start.
import { build } from 'esbuild';
import { COMMON, LAZY_PACKAGES, OPTIONAL, PROGRAMS, SDK_THREADS, THREADS } from './bundles.ts';

await Promise.all([
  ...Object.entries({ ...PROGRAMS, ...THREADS, ...SDK_THREADS }).map(([name, entry]) =>
    bundle(entry, `dist/${name}.cjs`, 'cjs'),
  ),
  ...Object.entries(LAZY_PACKAGES).map(([name, entry]) => bundle(entry, `dist/${name}.cjs`, 'cjs')),
  // the library is a module, like the programs that import it
  bundle('build/src/index.js', 'dist/nephos.mjs', 'esm'),
]);

async function bundle(entry: string, outfile: string, format: 'cjs' | 'esm'): Promise<void> {
  // external: packages with machine code, and packages that are seldom loaded
  const external = ['koffi', 'prom-client', ...OPTIONAL];
  // the modules name a lazy package; its own bundle contains it
  if (!Object.values<string>(LAZY_PACKAGES).includes(entry)) external.push(...Object.keys(LAZY_PACKAGES));
  await build({ ...COMMON, entryPoints: [entry], outfile, format, external });
}
