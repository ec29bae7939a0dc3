/** Longest text of a user or client within a message, and longest message of a reply, an error or the log, in characters. */
export const VALUE_MAX = 80;
export const MESSAGE_MAX = 4096;

/** Longest list of problems or names in a message. */
export const ITEMS_SHOWN = 20;

/** Returns a text of at most `most` characters: of a longer one the start, and how long it is. */
export function clip(text: string, most = MESSAGE_MAX): string {
  if (text.length <= most) return text;
  const note = `... (${text.length} characters)`;
  return `${text.slice(0, Math.max(0, most - note.length))}${note}`;
}

/** Joins the first items of a list, each clipped, and the number of the others. */
export function joinSome(items: readonly string[], separator: string): string {
  const shown = items.slice(0, ITEMS_SHOWN).map((item) => clip(item, MESSAGE_MAX / ITEMS_SHOWN));
  const more = items.length - shown.length;
  return more === 0 ? shown.join(separator) : `${shown.join(separator)}${separator}and ${more} more`;
}

/** Returns a JSON value as JSON text for a message. Reads no more of a large value than is shown. */
export function preview(value: unknown, most = VALUE_MAX): string {
  const text = start(value, most + 1) ?? String(value);
  return text.length > most ? `${text.slice(0, most - 3)}...` : text;
}

/** Returns at least the first `need` characters of a value's JSON text; undefined where it has none. */
function start(value: unknown, need: number): string | undefined {
  if (typeof value === 'string') return JSON.stringify(value.length > need ? value.slice(0, need) : value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) {
    return enclose('[]', need, value, (item, rest) => start(item, rest) ?? 'null');
  }
  return enclose('{}', need, Object.entries(value), ([key, member], rest) => {
    return `${start(key, rest)}:${start(member, rest)}`;
  });
}

function enclose<T>(
  brackets: string,
  need: number,
  items: readonly T[],
  show: (item: T, rest: number) => string,
): string {
  let text = brackets.charAt(0);
  for (const [i, item] of items.entries()) {
    if (text.length > need) return text;
    text += `${i === 0 ? '' : ','}${show(item, need - text.length)}`;
  }
  return `${text}${brackets.charAt(1)}`;
}
