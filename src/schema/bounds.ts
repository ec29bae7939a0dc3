/*
 * Bounds of a request. A check takes a few microseconds for each value. The largest document within these bounds blocks the event loop
 * for half of the permitted 50 ms.
 */

/** Values of a document: members and items of lists, at any depth. */
export const VALUES_MAX = 16_384;

/** Items of a list of objects: more than any list of the schema can use, as the bus of the machine has 30 slots. */
export const OBJECTS_MAX = 256;

/** Items of any other list, e.g. processors of the host. */
export const ITEMS_MAX = 1024;

/** Characters of a text, e.g. of a kernel's command line. */
export const TEXT_MAX = 131_072;

/** Characters of a path: PATH_MAX of Linux (include/uapi/linux/limits.h) without the final NUL. */
export const PATH_MAX = 4095;

/** Depth of nesting: the bound of Cloud Hypervisor (serde_json), which no document of the API reaches. */
export const DEPTH_MAX = 128;

/** A check of a larger document stops at its first problem: a problem takes ten times as long as a correct value. */
export const VALUES_FOR_ALL_PROBLEMS = 2000;

/** Size of a JSON value. */
export interface Extent {
  readonly values: number;
  /** lists that are too long, e.g. `disks: expected a list of at most 256 items, got 300` */
  readonly problems: readonly string[];
}

/** Counts the values of a JSON value, and names the lists that are too long, without counting their items. */
export function extentOf(json: unknown): Extent {
  const problems: string[] = [];
  let values = 0;
  const walk = (value: unknown, place: string, depth: number): void => {
    values += 1;
    if (typeof value !== 'object' || value === null) return;
    if (depth === DEPTH_MAX) return void problems.push(`${place}: nested more than ${DEPTH_MAX} deep`);
    if (!Array.isArray(value)) {
      for (const [key, member] of Object.entries(value)) {
        // no problem is reported for a scalar
        if (typeof member === 'object') walk(member, place === '' ? key : `${place}.${key}`, depth + 1);
        else values += 1;
      }
      return;
    }
    const most = value.some((item) => typeof item === 'object') ? OBJECTS_MAX : ITEMS_MAX;
    if (value.length > most) {
      problems.push(`${place}: expected a list of at most ${most} items, got ${value.length}`);
    } else {
      for (const [i, item] of value.entries()) walk(item, `${place}[${i}]`, depth + 1);
    }
  };
  walk(json, '', 0);
  return { values, problems };
}
