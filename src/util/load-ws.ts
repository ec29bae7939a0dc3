import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { compileFunction } from 'node:vm';
import { besideBundle, isBundled } from './beside-bundle.ts';

/** The WebSocket library, for servers and clients. */
export type Ws = Pick<typeof import('ws'), 'WebSocket' | 'WebSocketServer'>;
export type { WebSocket } from 'ws';

/** Name of its bundle in `dist/`, and of the asset in the single executables (scripts/bundles.ts). */
const BUNDLE = 'ws.cjs';

let loaded: Promise<Ws> | undefined;

/** Loads the library on first use: few connections need it. A failed load is repeated by the next call. */
export function loadWs(): Promise<Ws> {
  loaded ??= load().catch((error: unknown) => {
    loaded = undefined;
    throw error;
  });
  return loaded;
}

async function load(): Promise<Ws> {
  if (!isBundled()) return import('ws');
  // not imported: other runtimes than Node, in which the SDK runs too, have no such module
  const sea: typeof import('node:sea') | undefined = process.getBuiltinModule('node:sea');
  const found = sea?.isSea() ? evaluate(sea.getAsset(BUNDLE, 'utf8')) : requireFile(besideBundle(BUNDLE));
  if (isWs(found)) return found;
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

function isWs(found: unknown): found is Ws {
  return typeof found === 'function' && 'WebSocketServer' in found;
}
