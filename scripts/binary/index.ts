// `npm run build:binary [-- x64 arm64]`: single executables, each a Node with one program inside, in
// `build/binary/linux-<architecture>/`. They run where no Node is installed.
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { COMMON, LAZY_PACKAGES, OPTIONAL, PAGE, PROGRAMS, THREADS } from '../bundles.ts';
import { copyLibraries, setLibraryFolder } from './libraries.ts';

const run = promisify(execFile);

const ARCHITECTURES = ['x64', 'arm64'] as const;
type Architecture = (typeof ARCHITECTURES)[number];

/** Marks the place in Node's executable that says whether a program is inside (Node's documentation, sea). */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

for (const architecture of wanted(process.argv.slice(2))) await buildAll(architecture);

function wanted(words: readonly string[]): readonly Architecture[] {
  const host = ARCHITECTURES.find((one) => one === process.arch);
  if (words.length === 0 && host !== undefined) return [host];
  return words.map((word) => {
    const known = ARCHITECTURES.find((one) => one === word);
    if (known === undefined)
      throw new Error(`${word}: is no architecture that can be built: ${ARCHITECTURES.join(', ')}`);
    return known;
  });
}

async function buildAll(architecture: Architecture): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'nephos-binary-'));
  const target = `build/binary/linux-${architecture}`;
  try {
    const node = await nodeFor(architecture, work);
    const koffi = await koffiFor(architecture, work);
    const threads = await Promise.all(
      Object.entries(THREADS).map(([name, entry]) => bundle(name, entry, work)),
    );
    const [ssh2, ws] = await Promise.all([
      bundle('ssh2', LAZY_PACKAGES.ssh2, work),
      bundle('ws', LAZY_PACKAGES.ws, work),
    ]);
    // each program has what it starts or loads
    const assetFiles: Readonly<Record<string, readonly string[]>> = {
      'cloud-hypervisor': [...threads, ws],
      'ch-remote': [ws],
      nephos: [ssh2, ws],
    };
    await mkdir(target, { recursive: true });
    // libraries of another architecture are not on this machine
    if (architecture === process.arch) await copyLibraries(node, target);
    for (const [name, entry] of Object.entries(PROGRAMS)) {
      const main = await bundle(name, entry, work, nameProcess(name));
      const page = name === 'cloud-hypervisor' ? pageAssets() : {};
      const assets = { 'koffi.node': koffi, ...page, ...assetsOf(assetFiles[name] ?? []) };
      const blob = await blobOf({ main, assets, architecture });
      const executable = join(target, name);
      await rm(executable, { force: true });
      await copyFile(node, executable);
      await chmod(executable, 0o755);
      await run('node_modules/.bin/postject', [executable, 'NODE_SEA_BLOB', blob, '--sentinel-fuse', FUSE]);
      // last: postject loses what patchelf has moved
      await setLibraryFolder(executable);
      console.log(`${executable}: ${Math.round((await readFile(executable)).length / 2 ** 20)} MiB`);
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * First statement of a program: Node 24 names the main thread "MainThread", so `ps` and `pgrep` would not find the program.
 * The kernel keeps 15 characters.
 */
function nameProcess(name: string): string {
  return `try { require('node:fs').writeFileSync('/proc/self/comm', '${name}'); } catch {}`;
}

async function bundle(name: string, entry: string, work: string, banner = ''): Promise<string> {
  const outfile = join(work, `${name}.cjs`);
  const isLazy = Object.keys(LAZY_PACKAGES).includes(name);
  await build({
    ...COMMON,
    entryPoints: [entry],
    outfile,
    format: 'cjs',
    sourcemap: false,
    banner: { js: banner },
    external: [...OPTIONAL, ...(isLazy ? [] : Object.keys(LAZY_PACKAGES))],
    // a single executable has require() alone
    supported: { 'dynamic-import': false },
    // an executable has no folder of modules beside it
    alias: { koffi: './build/scripts/binary/koffi.js' },
  });
  return outfile;
}

function assetsOf(files: readonly string[]): Record<string, string> {
  return Object.fromEntries(files.map((file) => [basename(file), file]));
}

/** Files of the page, which the build has made. */
function pageAssets(): Record<string, string> {
  return Object.fromEntries(readdirSync(PAGE.folder).map((file) => [`web/${file}`, join(PAGE.folder, file)]));
}

interface Blob {
  readonly main: string;
  readonly assets: Readonly<Record<string, string>>;
  readonly architecture: Architecture;
}

/** Makes the file that Node looks for inside of its executable: the program and its assets. Returns its path. */
async function blobOf({ main, assets, architecture }: Blob): Promise<string> {
  const output = `${main}.blob`;
  const config = `${main}.json`;
  // V8 compiles for the processor that it runs on
  const useCodeCache = architecture === process.arch;
  const options = { main, output, assets, useCodeCache, disableExperimentalSEAWarning: true };
  await writeFile(config, JSON.stringify(options));
  await run(process.execPath, ['--experimental-sea-config', config]);
  return output;
}

/** Node's executable: this one, or that of the same version from the npm registry. */
async function nodeFor(architecture: Architecture, work: string): Promise<string> {
  if (architecture === process.arch) return process.execPath;
  const folder = await unpackPackage(`node-linux-${architecture}@${process.versions.node}`, work);
  return join(folder, 'bin', 'node');
}

async function koffiFor(architecture: Architecture, work: string): Promise<string> {
  const name = `@koromix/koffi-linux-${architecture}`;
  const { version }: { version: string } = JSON.parse(
    await readFile('node_modules/koffi/package.json', 'utf8'),
  );
  const folder =
    architecture === process.arch
      ? join('node_modules', name)
      : await unpackPackage(`${name}@${version}`, work);
  return join(folder, `linux_${architecture}`, 'koffi.node');
}

/** Fetches a package of the npm registry that is not for this machine. Returns its folder. */
async function unpackPackage(specifier: string, work: string): Promise<string> {
  const folder = await mkdtemp(join(work, 'package-'));
  const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', folder, specifier]);
  await run('tar', ['-xzf', join(folder, stdout.trim()), '-C', folder]);
  return join(folder, 'package');
}
