/** A value of JSON. */
export type Json = null | boolean | number | string | readonly Json[] | JsonRecord;

/** An object of JSON. */
export interface JsonRecord {
  readonly [name: string]: Json;
}

/** Returns a value that is an object, or an empty one. */
export function asRecord(value: Json | undefined): JsonRecord {
  return isRecord(value) ? value : {};
}

/** Returns a value that is a text, or an empty one. */
export function asText(value: Json | undefined): string {
  return typeof value === 'string' ? value : '';
}

/** Returns the texts of a list. */
export function asTexts(value: Json | undefined): string[] {
  return isList(value) ? value.filter((one) => typeof one === 'string') : [];
}

/** Returns a value as a text for people: texts as they are, anything else as JSON. */
export function showJson(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Reads JSON; any other text counts as null. */
export function parseJson(text: string): Json {
  try {
    const json: Json = JSON.parse(text);
    return json;
  } catch {
    return null;
  }
}

export function isRecord(value: Json | undefined): value is JsonRecord {
  return typeof value === 'object' && value !== null && !isList(value);
}

export function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}
