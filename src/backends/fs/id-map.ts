/*
 * Users, or groups, of the guest and of the host: one range of ids, or all ids unchanged. Pure.
 */

/** Consecutive ids of the guest, and the ids of the host that stand for them. `guest + count` and `host + count` are below 2^32. */
export interface IdRange {
  /** the first one in the guest */
  readonly guest: number;
  /** the first one on the host */
  readonly host: number;
  readonly count: number;
}

/** Id that the guest sees where an id of the host is outside of the range: `nobody`, as in user_namespaces(7). */
export const OVERFLOW_ID = 65_534;

export interface IdMap {
  /** Returns the id on the host; undefined where the guest's id is outside of the range. */
  readonly toHost: (guest: number) => number | undefined;
  /** Returns the id in the guest; {@link OVERFLOW_ID} where the host's id is outside of the range. */
  readonly toGuest: (host: number) => number;
}

/** Creates the map of a range; without one, ids are the same on both sides. */
export function createIdMap(range?: IdRange): IdMap {
  if (range === undefined) return { toHost: (id) => id, toGuest: (id) => id };
  const { guest, host, count } = range;
  return {
    toHost: (id) => (id >= guest && id < guest + count ? id - guest + host : undefined),
    toGuest: (id) => (id >= host && id < host + count ? id - host + guest : OVERFLOW_ID),
  };
}

/** The maps of users and of groups. */
export interface IdMaps {
  readonly users: IdMap;
  readonly groups: IdMap;
}

/** Creates both maps. */
export function createIdMaps(users?: IdRange, groups?: IdRange): IdMaps {
  return { users: createIdMap(users), groups: createIdMap(groups) };
}
