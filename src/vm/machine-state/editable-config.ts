import { DEVICES } from '../../devices/table.ts';
import type { Device } from '../../devices/device.ts';

/** Members of a configuration that are no devices, and that may be edited as a whole. */
const EDITABLE_MEMBERS = ['kernel', 'initramfs', 'cmdline', 'payload', 'gdb'] as const;

/**
 * Places that may be edited in a snapshot's config.json, e.g. `disks[].path`: `[]` stands for each item of a list. They concern
 * the host only, or a later boot. A change of any other place would contradict the machine state of the snapshot.
 */
const EDITABLE: ReadonlySet<string> = new Set([...EDITABLE_MEMBERS, ...DEVICES.flatMap(editablePlaces)]);

function editablePlaces({ member, many, editable = [] }: Device): readonly string[] {
  if (editable === 'all') return [member];
  return editable.map((name) => `${member}${many ? '[]' : ''}.${name}`);
}

/** Returns a configuration without the members that may be edited. */
export function fixedConfigOf(config: unknown, at = ''): unknown {
  if (Array.isArray(config)) return config.map((item: unknown) => fixedConfigOf(item, `${at}[]`));
  if (typeof config !== 'object' || config === null) return config;
  const members = Object.entries(config).flatMap(([name, value]: [string, unknown]) => {
    const place = at === '' ? name : `${at}.${name}`;
    return value === undefined || EDITABLE.has(place) ? [] : [[name, fixedConfigOf(value, place)]];
  });
  return Object.fromEntries(members) as unknown;
}

/** Returns the first place where two configurations differ, with both values, e.g. `cpus.max_vcpus: was 2, is 3`. */
export function firstDifference(before: unknown, now: unknown, at = ''): string | undefined {
  if (typeof before === 'object' && before !== null && typeof now === 'object' && now !== null) {
    return differenceOfMembers(before, now, at);
  }
  return Object.is(before, now) ? undefined : `${at}: was ${shown(before)}, is ${shown(now)}`;
}

function differenceOfMembers(before: object, now: object, at: string): string | undefined {
  const [old, current] = [new Map(entriesOf(before)), new Map(entriesOf(now))];
  for (const name of new Set([...old.keys(), ...current.keys()])) {
    const place = Array.isArray(before) ? `${at}[${name}]` : at === '' ? name : `${at}.${name}`;
    const found = firstDifference(old.get(name), current.get(name), place);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Limit of a value in a message, in characters. */
const SHOWN_LENGTH = 100;

function entriesOf(value: object): [string, unknown][] {
  return Object.entries(value);
}

function shown(value: unknown): string {
  const text = value === undefined ? 'not there' : JSON.stringify(value);
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}...` : text;
}
