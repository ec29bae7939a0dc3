import { join } from 'node:path';

/** Defined by scripts/bundle.ts. */
declare const NEPHOS_VERSION: string;

/** Returns true in a bundle of `dist/`, false where the modules run unbundled. */
export function isBundled(): boolean {
  return typeof NEPHOS_VERSION === 'string';
}

/** Returns a file of `dist/`. The bundle of the SDK is a module, those of the programs are not. */
export function besideBundle(name: string): string | URL {
  return typeof __dirname === 'string' ? join(__dirname, name) : new URL(name, import.meta.url);
}
