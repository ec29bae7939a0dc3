import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { compileFunction } from 'node:vm';
import { besideBundle, isBundled } from '../util/beside-bundle.ts';

/** Name of ssh2's bundle in `dist/`, and of the asset in the single executables (scripts/bundles.ts). */
const BUNDLE = 'ssh2.cjs';

type Ssh2 = typeof import('ssh2');

let loaded: Promise<Ssh2> | undefined;

/**
 * Loads the SSH client on first use, because it costs 32 ms. A caller that starts a VM calls it early: the load then overlaps the
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
  if (!isBundled()) return (await import('ssh2')).default;
  // not imported: other runtimes than Node, in which the SDK runs too, have no such module
  const sea: typeof import('node:sea') | undefined = process.getBuiltinModule('node:sea');
  const found = sea?.isSea() ? evaluate(sea.getAsset(BUNDLE, 'utf8')) : requireFile(besideBundle(BUNDLE));
  if (isSsh2(found)) return found;
  throw new Error(`${BUNDLE} is damaged: install Nephos again`);
}

function requireFile(file: string | URL): unknown {
  return createRequire(file)(typeof file === 'string' ? file : fileURLToPath(file));
}

/** Evaluates a CommonJS bundle; it requires modules of Node alone. */
function evaluate(code: string): unknown {
  const module: { exports: unknown } = { exports: {} };
  const run = compileFunction(code, ['exports', 'require', 'module'], { filename: BUNDLE });
  run(module.exports, createRequire(process.execPath), module);
  return module.exports;
}

function isSsh2(value: unknown): value is Ssh2 {
  return typeof value === 'object' && value !== null && 'Client' in value;
}
