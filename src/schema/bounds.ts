/*
 * How large a request may be. Checking a document takes a few microseconds a value, and nothing may hold up the event loop for
 * more than 50 ms: within these bounds the largest document takes half of that.
 */

/** Values of a document: members and items of lists, at any depth. */
export const VALUES_MAX = 16_384;

/** Items of a list of objects: the machine has a bus of 30 slots, and no list of the schema can be used with as many. */
export const OBJECTS_MAX = 256;

/** Items of any other list, e.g. processors of the host. */
export const ITEMS_MAX = 1024;

/** Characters of a text, e.g. of a kernel's command line. */
export const TEXT_MAX = 131_072;

/** Characters of a path: the kernel takes no longer one. */
export const PATH_MAX = 4095;

/** As deep as Cloud Hypervisor reads; no document of the API comes near it. */
export const DEPTH_MAX = 128;

/** A document of more values is left at its first problem: finding a problem takes ten times as long as finding none. */
export const VALUES_FOR_ALL_PROBLEMS = 2000;

/** What a walk through a JSON value found. */
export interface Extent {
  readonly values: number;
  /** lists that are too long, e.g. `disks: expected a list of at most 256 items, got 300` */
  readonly problems: readonly string[];
}

/** Counts the values of a JSON value, and names the lists that are too long: these are not looked into. */
export function extentOf(json: unknown): Extent {
  const problems: string[] = [];
  let values = 0;
  const walk = (value: unknown, place: string, depth: number): void => {
    values += 1;
    if (typeof value !== 'object' || value === null) return;
    if (depth === DEPTH_MAX) return void problems.push(`${place}: nested more than ${DEPTH_MAX} deep`);
    if (!Array.isArray(value)) {
      for (const [key, member] of Object.entries(value)) {
        // the place of a scalar is never told
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
