import * as v from 'valibot';

/*
 * Schemas of values that a file or another VMM contains: each value has bounds.
 */

/** Returns the schema of a whole number from 0 to `max`. */
export function whole(max = Number.MAX_SAFE_INTEGER) {
  return v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(max));
}

/** Returns the schema of a list with at most `max` items: a machine has no more. */
export function few<const S extends v.GenericSchema>(item: S, max = 256) {
  return v.pipe(v.array(item), v.maxLength(max));
}

/** A name in a file, in characters. */
export const Name = v.pipe(v.string(), v.maxLength(256));

/** Limit of a reason in a message, in characters: the reason quotes the value. */
const REASON_LENGTH = 200;

/** Checks a value from a file or another VMM. @throws Error naming the invalid member */
export function parseSaved<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new Error(`${v.getDotPath(issue) ?? 'it'}: ${issue.message}`.slice(0, REASON_LENGTH));
}
