// Paths that texts name: each exists, and no text needs a document outside of the repository.
import { posix } from 'node:path';
import type { SourceFile } from './sources.ts';

/** Folders that a build makes. */
const MADE = /^(?:build|dist|node_modules)(?:\/|$)/;

/** Returns the paths in a document that are neither a file nor a folder of the repository, of src/ or of the document's folder. */
export function missingPaths(document: string, files: readonly SourceFile[]): string[] {
  const text = files.find(({ path }) => path === document)?.text ?? '';
  const known = knownPaths(files);
  return namedPaths(text)
    .filter(({ path }) => !MADE.test(path) && !isKnown(path, document, known))
    .map(({ path, line }) => `${document}:${line}: ${path} does not exist`);
}

/** Returns the Markdown documents that a text names and the repository lacks, and mentions of folders beside it. */
export function outsideReferences(files: readonly SourceFile[]): (file: SourceFile) => string[] {
  const known = knownPaths(files);
  return ({ path, text }) => {
    if (/^scripts\/check\/\w+\.test\.ts$/.test(path)) return [];
    const documents = [...text.matchAll(/(?<![\w./:-])[\w./-]*\w\.md\b/g)].filter(
      ([name]) => !basesOf(path).some((base) => known.has(posix.join(base, name))),
    );
    const folders = [...text.matchAll(/\.\.\/shared\b|(?<![\w.])\/work\/\w+/g)];
    return [...documents, ...folders].map(
      (match) => `${path}:${lineOf(text, match.index)}: ${match[0]} is not in the repository`,
    );
  };
}

/** A name without a folder may be that of any file or folder. */
function isKnown(path: string, document: string, known: ReadonlySet<string>): boolean {
  if (basesOf(document).some((base) => known.has(posix.join(base, path)))) return true;
  return !path.includes('/') && [...known].some((one) => one.endsWith(`/${path}`));
}

/** Folders that a path may be relative to. */
function basesOf(document: string): string[] {
  return ['.', 'src', 'docs', posix.dirname(document)];
}

/** Files and folders; a file that no check reads (a picture, the contract) is known by its folder. */
function knownPaths(files: readonly SourceFile[]): Set<string> {
  const known = new Set([
    'contract',
    'contract/cloud-hypervisor-openapi.yaml',
    'LICENSE',
    'package-lock.json',
  ]);
  for (const { path } of files) for (let one = path; one !== '.'; one = posix.dirname(one)) known.add(one);
  return known;
}

/** Names with a slash or an ending of sources, in backticks or in blocks of code. Patterns (`<kind>`, `*`) end a path. */
function namedPaths(text: string): { path: string; line: number }[] {
  const code = [...text.matchAll(/`([^`\n]+)`|^ {4}(.+)$|\]\(([^)#:]+)(?:#[^)]*)?\)/gm)];
  return code.flatMap((match) => {
    const words = (match[1] ?? match[2] ?? match[3] ?? '').split(/[\s,;()]+/);
    return words
      .filter((word) => /^(?![~/@-]|\.\.?$|node:|https?:)[\w.-]+(?:\/|\.(?:ts|md|json|sh)$)/.test(word))
      .map((word) => ({ path: withoutPattern(word), line: lineOf(text, match.index) }));
  });
}

/** The folder above the first segment that is a pattern; without a slash at the end. */
function withoutPattern(path: string): string {
  const segments = path.replace(/\/$/, '').split('/');
  const pattern = segments.findIndex((segment) => /[<>*{}$[\]]/.test(segment));
  return (pattern < 0 ? segments : segments.slice(0, pattern)).join('/');
}

function lineOf(text: string, at: number): number {
  return text.slice(0, at).split('\n').length;
}
