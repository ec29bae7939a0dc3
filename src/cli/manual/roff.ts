/** The pieces of a manual page, in the macros of man(7). */

export function heading(text: string): string[] {
  return [`.SH ${text.toUpperCase()}`];
}

/** The first one of a section needs no macro. */
export function paragraphs(texts: readonly string[]): string[] {
  return texts.flatMap((text, i) => [...(i === 0 ? [] : ['.PP']), plain(text)]);
}

/** A term, e.g. a flag, and what is to be said of it, a paragraph each. */
export function item(term: string, texts: readonly string[]): string[] {
  const [first = '', ...rest] = texts.map(plain);
  return ['.TP', bold(term), first, ...rest.flatMap((text) => ['.sp', text])];
}

/** Lines that are shown as they are. */
export function example(lines: readonly string[]): string[] {
  return ['.RS 4', '.nf', ...lines.map(plain), '.fi', '.RE', '.sp'];
}

/** A line in bold. */
export function bold(text: string): string {
  return String.raw`\fB${plain(text)}\fR`;
}

/** A dash is typed as it is shown, and a dot or quote at the start of a line is no macro. */
export function plain(text: string): string {
  return text
    .replaceAll('\\', String.raw`\e`)
    .replaceAll('-', String.raw`\-`)
    .replaceAll('’', String.raw`\(cq`)
    .replace(/^[.']/, String.raw`\&$&`);
}
