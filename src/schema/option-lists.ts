/*
 * Lists of the command line: `[a,b]`, without brackets where the whole is in quotes, `"a,b"`. Items may be lists themselves,
 * `[0@[1,2],1@[3-4]]`. An item in double quotes may hold commas and brackets.
 */

/** Reads `[a,b]` or `a,b` as its items: white space around them and the quotes of a quoted one are dropped. */
export function readTexts(text: string): string[] {
  const inner = insideBrackets(text);
  if (inner?.trim() === '') return [];
  return cleanItems(splitOutside(inner ?? text, ','));
}

/** Reads `[a,b]`, and `a:b` of earlier versions, as its items. */
export function readItems(text: string): string[] {
  return insideBrackets(text) === undefined ? cleanItems(text.split(/[:,]/)) : readTexts(text);
}

/** The text between the brackets of a list; undefined where it is in none. */
export function insideBrackets(text: string): string | undefined {
  const trimmed = text.trim();
  if (!trimmed.startsWith('[')) return undefined;
  const end = endOfList(trimmed, 0);
  if (end === undefined) throw new Error('the list has no closing bracket');
  if (end < trimmed.length) throw new Error(`${trimmed.slice(end)} follows the list`);
  return trimmed.slice(1, -1);
}

/** Splits at each `separator` that is in no quotes and no brackets. Quotes and brackets without an end are letters. */
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

/** Takes the quotes off a text that is in them as a whole. */
export function unquoted(text: string): string {
  const trimmed = text.trim();
  return endOfQuotes(trimmed, 0) === trimmed.length ? trimmed.slice(1, -1) : trimmed;
}

/** Where the list that begins at `at` ends; undefined where none begins or where it has no end. */
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

/** Where the quotes that begin at `at` end; undefined where none begin or where they have no end. */
export function endOfQuotes(text: string, at: number): number | undefined {
  if (text[at] !== '"') return undefined;
  const end = text.indexOf('"', at + 1);
  return end < 0 ? undefined : end + 1;
}

function cleanItems(items: readonly string[]): string[] {
  if (items.some((item) => item.trim() === '')) throw new Error('an item of the list is empty');
  return items.map(unquoted);
}
