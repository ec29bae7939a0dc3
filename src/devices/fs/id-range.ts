import { expected } from '../../util/nearest.ts';

/** Form of a range on the command line and in JSON. */
export const ID_RANGE_SYNTAX = '<guest>:<host>:<count>';

/** Consecutive users or groups of the guest, and the users or groups of the host that stand for them. */
export interface IdRange {
  /** the first one in the guest */
  readonly guest: number;
  /** the first one on the host */
  readonly host: number;
  readonly count: number;
}

/** Ids below this one are users and groups: Linux reserves the last of 32 bits, `(uid_t) -1`. */
const IDS = 2 ** 32 - 1;

/**
 * Parses `guest:host:count`, e.g. `0:100000:65536`: the guest's users 0 to 65535 are the host's 100000 to 165535.
 * @throws Error with the reason alone
 */
export function parseIdRange(text: string): IdRange {
  const [, guest, host, count] = (FORM.exec(text) ?? []).map(Number);
  if (guest === undefined || host === undefined || count === undefined) {
    throw new Error(expected(`${ID_RANGE_SYNTAX}, e.g. 0:100000:65536`, suggestRange(text)));
  }
  if (count < 1) throw new Error('expected a count of at least 1');
  if (Math.max(guest, host) + count > IDS) {
    throw new Error(`expected ids up to ${IDS - 1}, the largest of Linux`);
  }
  return { guest, host, count };
}

const FORM = /^(\d{1,10}):(\d{1,10}):(\d{1,10})$/;

/** Notations of other programs: `0 100000 65536` of uid_map files, `:0:100000:65536:` and `map:0:100000:65536` of virtiofsd. */
const OTHER_FORM = /^(?:[a-z]+:|:)?(\d{1,10})[\s:,-]+(\d{1,10})(?:[\s:,-]+(\d{1,10}))?:?$/;

function suggestRange(text: string): string | undefined {
  const [, guest, host, count = '1'] = OTHER_FORM.exec(text.trim()) ?? [];
  return guest === undefined || host === undefined ? undefined : `${guest}:${host}:${count}`;
}
