import Module, { createRequire } from 'node:module';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import { besideBundle, isBundled } from '../util/beside-bundle.ts';
import { cryptoForSsh2 } from './ssh2-crypto.ts';

/** Names of ssh2's bundle and its compiled code in `dist/`; the bundle is an asset of the single executables (scripts/bundles.ts). */
const [BUNDLE, CACHE] = ['ssh2.cjs', `ssh2-${process.version}.cache`];

type Ssh2 = typeof import('ssh2');

let loaded: Promise<Ssh2> | undefined;

/**
 * Loads the SSH client on first use, because it costs 15 ms. A caller that starts a VM calls it early: the load then overlaps the
 * start. It blocks the event loop for that time. A failed load is repeated by the next call.
 */
export function loadSsh2(): Promise<Ssh2> {
  loaded ??= load().catch((error: unknown) => {
    loaded = undefined;
    throw error;
  });
  return loaded;
}

async function load(): Promise<Ssh2> {
  // not imported: other runtimes than Node, in which the SDK runs too, have no such module
  const sea: typeof import('node:sea') | undefined = process.getBuiltinModule('node:sea');
  const found = sea?.isSea() ? evaluate(sea.getAsset(BUNDLE, 'utf8'), BUNDLE) : evaluateFile(fileOf(BUNDLE));
  if (isSsh2(found)) return found;
  throw new Error(`${BUNDLE} is damaged: install Nephos again`);
}

/** Returns the path of a file in `dist/`. */
function fileOf(name: string): string {
  if (!isBundled())
    return join(dirname(createRequire(import.meta.url).resolve('nephos/package.json')), 'dist', name);
  const file = besideBundle(name);
  return typeof file === 'string' ? file : fileURLToPath(file);
}

/** Evaluates a bundle with its compiled code; V8 refuses that of another version of Node. */
function evaluateFile(file: string): unknown {
  const cache = join(dirname(file), CACHE);
  return evaluate(
    readFileSync(file, 'utf8'),
    file,
    existsSync(cache) ? { cachedData: readFileSync(cache) } : {},
  );
}

/** Evaluates a CommonJS bundle; it requires modules of Node alone. */
function evaluate(code: string, filename: string, options: { readonly cachedData?: Buffer } = {}): unknown {
  const module: { exports: unknown } = { exports: {} };
  const load = createRequire(process.execPath);
  const require = (name: string): unknown => (name === 'crypto' ? cryptoForSsh2() : load(name));
  // the text of scripts/code-cache.ts
  const run: unknown = new Script(Module.wrap(code), { filename, ...options }).runInThisContext();
  if (typeof run !== 'function') throw new Error(`${filename} is no module`);
  run(module.exports, require, module, filename, dirname(filename));
  return module.exports;
}

function isSsh2(value: unknown): value is Ssh2 {
  return typeof value === 'object' && value !== null && 'Client' in value;
}
