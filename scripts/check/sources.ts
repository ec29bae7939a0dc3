// Files of the repository that the checks read: sources, scripts, documents and generated texts.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

/** A text of the repository. `path` is relative to the root. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** Folders that hold no text of this project: packages, outputs, and the contract, which is kept as published. */
const EXCLUDED_FOLDERS = new Set(['.git', 'node_modules', 'build', 'dist', 'contract']);

const EXCLUDED_FILES = new Set(['LICENSE', 'package-lock.json']);

/** Returns all texts below a folder, in order of their paths. */
export function readSources(root: string): SourceFile[] {
  return listFiles(root, root)
    .toSorted()
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}

/** Returns whether a file is TypeScript, or JavaScript, which TypeScript can import. */
export function isTypeScript({ path }: Pick<SourceFile, 'path'>): boolean {
  return /\.[cm]?[jt]sx?$/.test(path);
}

function listFiles(root: string, folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return EXCLUDED_FOLDERS.has(entry.name) ? [] : listFiles(root, path);
    const isText = entry.isFile() && !EXCLUDED_FILES.has(entry.name) && !/\.(?:log|png)$/.test(entry.name);
    return isText ? [relative(root, path)] : [];
  });
}
