import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Commands in a document. */
export interface ShellBlock {
  readonly file: string;
  /** of its first command */
  readonly line: number;
  readonly code: string;
  /** reason why the tests do not run it, from the text above it */
  readonly notRun: string | undefined;
}

/** The documents for users, README first. */
export function documents(): string[] {
  const guides = readdirSync('docs').filter((name) => name.endsWith('.md'));
  return ['README.md', 'CONTRIBUTING.md', ...guides.toSorted().map((name) => join('docs', name))];
}

/** The blocks of a document that are fenced as `sh`, in order. */
export function shellBlocks(file: string): ShellBlock[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/(?:^\*Not run by the tests: ([^\n]+)\.\*\n\n)?^```sh\n(.*?)^```$/gms)].map(
    (match) => {
      const [whole, notRun, code = ''] = match;
      const before = text.slice(0, match.index + whole.indexOf('```sh'));
      return { file, line: before.split('\n').length + 1, code, notRun };
    },
  );
}

/** The rows of the tables whose first column has a title, without the title's row. */
export function tableRows(file: string, title: string): string[][] {
  const rows: string[][] = [];
  let inside = false;
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const cells = line.startsWith('|') ? cellsOf(line) : undefined;
    if (cells === undefined) inside = false;
    else if (cells[0] === title) inside = true;
    else if (inside && !/^-+$/.test(cells[0] ?? '')) rows.push(cells);
  }
  return rows;
}

function cellsOf(line: string): string[] {
  return line
    .replace(/^\||\|$/g, '')
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll(String.raw`\|`, '|'));
}
