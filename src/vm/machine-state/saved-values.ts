import * as v from 'valibot';

/*
 * Values in a description of a machine. It comes from a file or another VMM, so everything in it has bounds.
 */

/** A whole number from 0 to `max`. */
export function whole(max = Number.MAX_SAFE_INTEGER) {
  return v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(max));
}

/** At most `max` items: a machine has no more. */
export function few<const S extends v.GenericSchema>(item: S, max = 256) {
  return v.pipe(v.array(item), v.maxLength(max));
}

export const Byte = whole(0xff);
export const Word = whole(0xffff);
export const Doubleword = whole(0xffff_ffff);
export const Name = v.pipe(v.string(), v.maxLength(256));

/** Guest addresses of the three areas of a queue, each the lower and the upper 32 bits. */
export const Areas = v.pipe(v.array(Doubleword), v.length(6));
/** Base addresses of a PCI function; those of bridges and ROMs are not more. */
export const Places = few(Doubleword, 16);
/** Feature bits of a virtio device: the lower and the upper 32. */
export const Features = v.pipe(v.array(Doubleword), v.length(2));
/** Largest queue of a virtio device, in descriptors. */
export const QUEUE_SIZE_MAX = 32_768;

/** Longest reason that is shown, in characters: it quotes the value. */
const REASON_LENGTH = 200;

/** Checks a value from outside. @throws Error naming the member that is wrong */
export function parseSaved<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new Error(`${v.getDotPath(issue) ?? 'it'}: ${issue.message}`.slice(0, REASON_LENGTH));
}
