// The executables' bundles: one file each, because loading many modules costs more than all we do at start.
import { build } from 'esbuild';
import { COMMON, PROGRAMS, THREADS } from './bundles.ts';

await Promise.all([
  ...Object.entries({ ...PROGRAMS, ...THREADS }).map(([name, entry]) =>
    bundle(entry, `dist/${name}.cjs`, 'cjs'),
  ),
  // the library is a module, as those who import it are
  bundle('build/src/sdk/index.js', 'dist/nephos.mjs', 'esm'),
]);

async function bundle(entry: string, outfile: string, format: 'cjs' | 'esm'): Promise<void> {
  // what comes with machine code, and what is seldom asked for
  await build({ ...COMMON, entryPoints: [entry], outfile, format, external: ['koffi', 'prom-client'] });
}
