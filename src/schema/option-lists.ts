/*
 * Lists of the command line: `[a,b]`, or `"a,b"` without brackets. Items may be lists, `[0@[1,2],1@[3-4]]`. An item in double quotes may
 * contain commas and brackets.
 */

/** Returns the items of `[a,b]` or `a,b`, without surrounding white space and quotes. */
export function readTexts(text: string): string[] {
  const inner = insideBrackets(text);
  if (inner?.trim() === '') return [];
  return cleanItems(splitOutside(inner ?? text, ','));
}

/** Returns the items of `[a,b]`, and of `a:b` of earlier versions. */
export function readItems(text: string): string[] {
  return insideBrackets(text) === undefined ? cleanItems(text.split(/[:,]/)) : readTexts(text);
}

/** Returns the text between the brackets of a list; undefined for a text without brackets. */
export function insideBrackets(text: string): string | undefined {
  const trimmed = text.trim();
  if (!trimmed.startsWith('[')) return undefined;
  const end = endOfList(trimmed, 0);
  if (end === undefined) throw new Error('the list has no closing bracket');
  if (end < trimmed.length) throw new Error(`${trimmed.slice(end)} follows the list`);
  return trimmed.slice(1, -1);
}

/** Splits at each `separator` outside quotes and brackets. Unclosed quotes and brackets are ordinary characters. */
export function splitOutside(text: string, separator: string): string[] {
  const pieces: string[] = [];
  let start = 0;
  let at = 0;
  while (at < text.length) {
    if (text[at] === separator) {
      pieces.push(text.slice(start, at));
      start = at + 1;
    }
    at = endOfQuotes(text, at) ?? endOfList(text, at) ?? at + 1;
  }
  return [...pieces, text.slice(start)];
}

/** Removes the quotes of a text that is quoted as a whole. */
export function unquoted(text: string): string {
  const trimmed = text.trim();
  return endOfQuotes(trimmed, 0) === trimmed.length ? trimmed.slice(1, -1) : trimmed;
}

/** Returns the end of the list that begins at `at`; undefined if no list begins there, or if it is not closed. */
export function endOfList(text: string, at: number): number | undefined {
  if (text[at] !== '[') return undefined;
  return endOfBrackets(text, at, endOfQuotes) ?? endOfBrackets(text, at, () => undefined);
}

function endOfBrackets(text: string, start: number, skip: typeof endOfQuotes): number | undefined {
  let depth = 0;
  let at = start;
  while (at < text.length) {
    if (text[at] === '[') depth += 1;
    if (text[at] === ']') depth -= 1;
    if (depth === 0) return at + 1;
    at = skip(text, at) ?? at + 1;
  }
  return undefined;
}

/** Returns the end of the quoted text that begins at `at`; undefined if none begins there, or if it is not closed. */
export function endOfQuotes(text: string, at: number): number | undefined {
  if (text[at] !== '"') return undefined;
  const end = text.indexOf('"', at + 1);
  return end < 0 ? undefined : end + 1;
}

function cleanItems(items: readonly string[]): string[] {
  if (items.some((item) => item.trim() === '')) throw new Error('an item of the list is empty');
  return items.map(unquoted);
}
