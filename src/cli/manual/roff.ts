/** Parts of a manual page, in the macros of man(7). */

export function heading(text: string): string[] {
  return [`.SH ${text.toUpperCase()}`];
}

/** Returns paragraphs. The first one of a section needs no macro. */
export function paragraphs(texts: readonly string[]): string[] {
  return texts.flatMap((text, i) => [...(i === 0 ? [] : ['.PP']), plain(text)]);
}

/** Returns a term, e.g. a flag, and its paragraphs. */
export function item(term: string, texts: readonly string[]): string[] {
  const [first = '', ...rest] = texts.map(plain);
  return ['.TP', bold(term), first, ...rest.flatMap((text) => ['.sp', text])];
}

/** Returns lines that are shown unchanged. */
export function example(lines: readonly string[]): string[] {
  return ['.RS 4', '.nf', ...lines.map(plain), '.fi', '.RE', '.sp'];
}

/** Returns a line in bold. */
export function bold(text: string): string {
  return String.raw`\fB${plain(text)}\fR`;
}

/** Escapes dashes, and dots and quotes at the start of a line, which would be macros. */
export function plain(text: string): string {
  return text
    .replaceAll('\\', String.raw`\e`)
    .replaceAll('-', String.raw`\-`)
    .replaceAll('’', String.raw`\(cq`)
    .replace(/^[.']/, String.raw`\&$&`);
}
