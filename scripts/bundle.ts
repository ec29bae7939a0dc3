// Bundles of the executables: one file each, because many modules take longer to load than the rest of the start.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import {
  COMMON,
  KOFFI_VERSION,
  LAZY_PACKAGES,
  OPTIONAL,
  PAGE,
  PROGRAMS,
  SDK_THREADS,
  THREADS,
} from './bundles.ts';
import { writeLauncher } from './launcher.ts';
import { writeReplacedLibraries } from './replaced-libraries.ts';

const runProgram = promisify(execFile);

/** Options of programs, whose text stays in the memory of each process. Names stay, for stack traces. */
const SMALL = { minifyWhitespace: true, minifySyntax: true, lineLimit: 160 } as const;

await Promise.all([
  ...Object.entries({ ...PROGRAMS, ...THREADS, ...SDK_THREADS }).map(([name, entry]) =>
    bundle(entry, `dist/${name}.cjs`, 'cjs'),
  ),
  ...Object.entries(LAZY_PACKAGES).map(([name, entry]) => bundle(entry, `dist/${name}.cjs`, 'cjs')),
  // the library is a module, like the programs that import it
  bundle('build/src/index.js', 'dist/nephos.mjs', 'esm'),
  bundlePage(),
  writeReplacedLibraries('dist/replaced'),
  writeLauncher('dist'),
]);
await writeCodeCaches();

async function bundle(entry: string, outfile: string, format: 'cjs' | 'esm'): Promise<void> {
  // external: packages with machine code, and packages that are seldom loaded
  const external = ['koffi', 'prom-client', ...OPTIONAL];
  // the modules name a lazy package; its own bundle contains it
  if (!Object.values<string>(LAZY_PACKAGES).includes(entry)) external.push(...Object.keys(LAZY_PACKAGES));
  // V8 keeps no compiled code of a program that imports modules itself
  const supported = format === 'cjs' ? { 'dynamic-import': false } : {};
  const define = { ...COMMON.define, KOFFI_VERSION: JSON.stringify(KOFFI_VERSION) };
  const size = format === 'cjs' ? SMALL : {};
  await build({ ...COMMON, ...size, entryPoints: [entry], outfile, format, external, supported, define });
}

/**
 * Writes the compiled code of the bundles. Each runs with words that reach much of its code, and fails: the paths do not exist. The code of
 * functions that did not run is not kept.
 */
async function writeCodeCaches(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'nephos-build-'));
  try {
    const restore = ['--restore', 'source_url=file:///nonexistent'];
    await Promise.all([
      writeCodeCache('cloud-hypervisor', ['--api-socket', join(folder, 'api'), ...restore]),
      writeCodeCache('nephos', ['run', '--rm', 'oci:/nonexistent', '--', 'true']),
      writeCodeCache('ch-remote', ['--api-socket', join(folder, 'none'), 'ping']),
      ...Object.keys(LAZY_PACKAGES).map((name) => writeCodeCache(name, [])),
      writeThreadCaches(),
    ]);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function writeCodeCache(name: string, words: readonly string[]): Promise<void> {
  const [file, cache] = [`dist/${name}.cjs`, `dist/${name}-${process.version}.cache`];
  const failed = await runProgram(process.execPath, ['build/scripts/code-cache.js', file, ...words]).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!existsSync(cache)) throw new Error(`${cache} was not written`, { cause: failed });
}

async function writeThreadCaches(): Promise<void> {
  const files = Object.keys({ ...THREADS, ...SDK_THREADS }).map((name) => `dist/${name}.cjs`);
  await runProgram(process.execPath, ['build/scripts/thread-code-cache.js', ...files]);
}

/** Makes the page: one script and one style sheet with all packages. The browser alone loads them. */
async function bundlePage(): Promise<void> {
  await mkdir(PAGE.folder, { recursive: true });
  const copies = PAGE.copied.map((name) => copyFile(join('src/web/page', name), join(PAGE.folder, name)));
  const bundled = build({
    entryPoints: { page: PAGE.entry },
    outdir: PAGE.folder,
    bundle: true,
    minify: true,
    format: 'iife',
    target: 'es2022',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    legalComments: 'none',
    logLevel: 'warning',
  });
  await Promise.all([bundled, ...copies]);
}
