import type { AsyncPreference } from '../api/route.ts';

/** Longest accepted `wait`, in digits: 31 years. */
const WAIT = /^\d{1,9}$/;

const RESPOND_ASYNC = 'respond-async';

/**
 * Returns the client's preference for an asynchronous answer from its header `Prefer` (RFC 7240); undefined if it has none. Names
 * are compared without case, the first of several preferences with one name counts, and malformed ones are ignored.
 */
export function asyncPreference(header: string | string[] | undefined): AsyncPreference | undefined {
  if (header === undefined) return undefined;
  const preferences = preferencesOf(String(header));
  if (!preferences.has(RESPOND_ASYNC)) return undefined;
  const wait = preferences.get('wait') ?? '';
  return { wait: WAIT.test(wait) ? Number(wait) : undefined };
}

/** Returns the values of the preferences by lower-case name; the value of one without a value is empty. */
function preferencesOf(header: string): ReadonlyMap<string, string> {
  const preferences = new Map<string, string>();
  for (const item of splitOutsideQuotes(header, ',')) {
    const [preference = ''] = splitOutsideQuotes(item, ';');
    const equals = preference.indexOf('=');
    const name = (equals === -1 ? preference : preference.slice(0, equals)).trim().toLowerCase();
    const value = equals === -1 ? '' : unquoted(preference.slice(equals + 1).trim());
    if (name !== '' && !preferences.has(name)) preferences.set(name, value);
  }
  return preferences;
}

/** Splits a text at a separator that is not within a quoted string (RFC 9110, section 5.6.4). */
function splitOutsideQuotes(text: string, separator: ',' | ';'): string[] {
  const parts: string[] = [];
  let start = 0;
  let isQuoted = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '"') isQuoted = !isQuoted;
    else if (isQuoted && char === '\\') at++;
    else if (!isQuoted && char === separator) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}

function unquoted(word: string): string {
  if (word.length < 2 || !word.startsWith('"') || !word.endsWith('"')) return word;
  return word.slice(1, -1).replaceAll(/\\(.)/gs, '$1');
}
