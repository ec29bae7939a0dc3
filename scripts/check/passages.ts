// Splits a text into passages for the word check: comments and paragraphs (prose), and everything else (code).
// A passage has the length of the text that it is cut from, so that a position in it is a position in the file: markers of
// comments and line breaks are replaced by spaces.
import { parseSync } from 'oxc-parser';
import { isTypeScript, type SourceFile } from './sources.ts';

export interface Passage {
  /** `code`: source text without comments; `heading`: a heading, a row of a table or a manual page, not sentences alone */
  readonly kind: 'prose' | 'heading' | 'code';
  /** offset of the first character in the file */
  readonly start: number;
  readonly text: string;
}

/** Returns the passages of a file, in no particular order. */
export function passagesOf(file: SourceFile): Passage[] {
  if (isTypeScript(file)) return typeScriptPassages(file);
  if (file.path.endsWith('.md')) return markdownPassages(file.text);
  if (/^man\/|\.[1-8]$/.test(file.path)) return manualPassages(file.text);
  return lineCommentPassages(file.text, /^[ \t]*(?:#|\/\/)/);
}

function typeScriptPassages({ path, text }: SourceFile): Passage[] {
  const { comments, errors } = parseSync(path, text);
  const [error] = errors;
  if (error !== undefined) throw new Error(`${path}: ${error.message}`);
  const prose: { start: number; end: number }[] = [];
  for (const { start, end, type } of comments) {
    const last = prose.at(-1);
    const continues = last !== undefined && type === 'Line' && isLineBreak(text.slice(last.end, start));
    if (continues && text.startsWith('//', last.start)) last.end = end;
    else prose.push({ start, end });
  }
  const spans = prose.map(({ start, end }) => ({ start, text: blankCommentMarkers(text.slice(start, end)) }));
  return [
    ...spans.map(({ start, text: span }): Passage => ({ kind: 'prose', start, text: span })),
    { kind: 'code', start: 0, text: blank(text, prose) },
  ];
}

function isLineBreak(text: string): boolean {
  return /^\r?\n[ \t]*$/.test(text);
}

/** Replaces slashes and stars of comments by spaces. Instructions to the linter are no prose. */
function blankCommentMarkers(comment: string): string {
  return joinLines(
    comment
      .replaceAll(/\/\/ oxlint-disable[^\n]*/g, spaces)
      .replaceAll(/^\/\*+|\*+\/$/g, spaces)
      .replaceAll(/^[ \t]*\/\/+|^[ \t]*\*+/gm, spaces),
  );
}

/** Manual pages: text between requests, which begin with a point, is prose. */
function manualPassages(text: string): Passage[] {
  const passages: Passage[] = [];
  for (const { start, line } of linesOf(text)) {
    const last = passages.at(-1);
    const kind = line.startsWith('.') ? 'heading' : 'prose';
    if (kind === 'prose' && last?.kind === 'prose')
      passages[passages.length - 1] = { ...last, text: `${last.text} ${line}` };
    else passages.push({ kind, start, text: line });
  }
  return passages;
}

function markdownPassages(text: string): Passage[] {
  const passages: Passage[] = [];
  let paragraph: { start: number; end: number } | undefined;
  const finish = (): void => {
    if (paragraph !== undefined) {
      const { start, end } = paragraph;
      passages.push({ kind: 'prose', start, text: joinLines(text.slice(start, end)) });
    }
    paragraph = undefined;
  };
  for (const { start, line, kind, startsItem } of markdownLines(text)) {
    if (kind !== 'prose' || startsItem) finish();
    if (kind === 'code' || kind === 'heading') passages.push({ kind, start, text: line });
    if (kind === 'prose')
      paragraph = { start: paragraph?.start ?? start + markerLength(line), end: start + line.length };
  }
  finish();
  return passages;
}

interface MarkdownLine {
  readonly start: number;
  readonly line: string;
  readonly kind: Passage['kind'] | 'blank';
  readonly startsItem: boolean;
}

function markdownLines(text: string): MarkdownLine[] {
  let inFence = false;
  return linesOf(text).map(({ start, line }) => {
    const isFence = /^\s*(?:```|~~~)/.test(line);
    if (isFence) inFence = !inFence;
    const startsItem = !inFence && /^\s*(?:[-*+]|\d+\.)\s/.test(line);
    return { start, line, kind: inFence || isFence ? 'code' : kindOfLine(line), startsItem };
  });
}

function kindOfLine(line: string): MarkdownLine['kind'] {
  if (line.trim() === '') return 'blank';
  if (/^ {4}\S/.test(line)) return 'code';
  return /^(?:#|\s*\|)/.test(line) ? 'heading' : 'prose';
}

/** Length of the indentation and the marker of a list's item. */
function markerLength(line: string): number {
  return /^\s*(?:(?:[-*+]|\d+\.)\s+)?(?:>\s*)?/.exec(line)?.[0].length ?? 0;
}

/** For shell scripts and others: comments stand on lines of their own. */
function lineCommentPassages(text: string, marker: RegExp): Passage[] {
  const passages: Passage[] = [];
  let comment: { start: number; end: number } | undefined;
  const comments: { start: number; end: number }[] = [];
  for (const { start, line } of linesOf(text)) {
    const isComment = marker.test(line) && !line.startsWith('#!');
    if (isComment && comment !== undefined) comment.end = start + line.length;
    else if (isComment) comments.push((comment = { start, end: start + line.length }));
    else comment = undefined;
  }
  for (const { start, end } of comments) {
    const markers = new RegExp(marker.source, 'gm');
    passages.push({
      kind: 'prose',
      start,
      text: joinLines(text.slice(start, end).replaceAll(markers, spaces)),
    });
  }
  return [...passages, { kind: 'code', start: 0, text: blank(text, comments) }];
}

function linesOf(text: string): { start: number; line: string }[] {
  let start = 0;
  return text.split('\n').map((line) => {
    const at = start;
    start += line.length + 1;
    return { start: at, line };
  });
}

function joinLines(text: string): string {
  return text.replaceAll(/[\r\n]/g, ' ');
}

function spaces(text: string): string {
  return text.replaceAll(/[^\n]/g, ' ');
}

/** Replaces spans of a text by spaces. */
function blank(text: string, spans: readonly { readonly start: number; readonly end: number }[]): string {
  let result = '';
  let at = 0;
  for (const { start, end } of spans) {
    result += text.slice(at, start) + spaces(text.slice(start, end));
    at = end;
  }
  return result + text.slice(at);
}
