// Findings of the word and spelling checks: a word at a position of a file, and what to write instead.
import type { SourceFile } from './sources.ts';

export interface Finding {
  readonly path: string;
  /** from 1 */
  readonly line: number;
  readonly column: number;
  readonly word: string;
  readonly write: string;
}

/** Makes a finding of a word at an offset in a file. */
export function locate(file: SourceFile, at: number, word: Pick<Finding, 'word' | 'write'>): Finding {
  const before = file.text.slice(0, at).split('\n');
  return { path: file.path, line: before.length, column: (before.at(-1)?.length ?? 0) + 1, ...word };
}

/** Renders a finding as `file:line:column: "word": write ...`. */
export function renderFinding({ path, line, column, word, write }: Finding): string {
  return `${path}:${line}:${column}: "${word}": write ${write}`;
}
