import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { besideBundle, isBundled } from '../util/beside-bundle.ts';

/** A file of the page, in memory. */
export interface PageFile {
  readonly contentType: string;
  readonly body: Buffer;
}

/** Files of the page by their paths in a URL. */
export type PageFiles = ReadonlyMap<string, PageFile>;

/** Files in `dist/web/` and their media types; scripts/bundle.ts makes them. */
export const PAGE_FILES = {
  'index.html': 'text/html; charset=utf-8',
  'page.js': 'text/javascript; charset=utf-8',
  'page.css': 'text/css; charset=utf-8',
  'icon.svg': 'image/svg+xml',
} as const;

/** Reads the files of the page. Rejects where one is absent: they are part of each installation. */
export async function readPageFiles(): Promise<PageFiles> {
  const entries = Object.entries(PAGE_FILES).map(async ([name, contentType]): Promise<[string, PageFile]> => {
    const path = name === 'index.html' ? '/' : `/${name}`;
    return [path, { contentType, body: await readPageFile(name) }];
  });
  return new Map(await Promise.all(entries));
}

async function readPageFile(name: string): Promise<Buffer> {
  const file = `web/${name}`;
  // not imported: other runtimes than Node have no such module
  const sea: typeof import('node:sea') | undefined = process.getBuiltinModule('node:sea');
  if (sea?.isSea()) return Buffer.from(sea.getAsset(file));
  return readFile(isBundled() ? besideBundle(file) : join('dist', file));
}
