import { deviceNumber } from '../../native/file-status.ts';

/*
 * Form in which owner, mode and device number of a file are kept where the host cannot have them: the text of an extended attribute,
 * `<uid>:<gid>:<mode>[:<major>:<minor>]`. Ids are the guest's, in decimal; the mode is octal, with its type; the numbers of a device
 * node are decimal. An empty field stands for the host's. For example `0:42:` and `::0104755` and `0:6:060660:8:1`. Pure.
 */

/** Owner, mode and device number as the guest sees them; a member that is left out is the host's. */
export interface KeptStatus {
  readonly uid?: number;
  readonly gid?: number;
  /** type and permissions, as in `st_mode` */
  readonly mode?: number;
  /** number of a device node, as Linux encodes it in 32 bits */
  readonly device?: number;
}

/** More bytes than the longest text has. */
export const KEPT_BYTES = 64;

const FORM = /^(\d{0,10}):(\d{0,10}):([0-7]{0,7})(?::(\d{1,4}):(\d{1,7}))?$/;
const LARGEST_ID = 2 ** 32 - 2;

/** Encodes a status; undefined where it keeps nothing. */
export function encodeKept({ uid, gid, mode, device }: KeptStatus): string | undefined {
  if (uid === undefined && gid === undefined && mode === undefined) return undefined;
  const octal = mode === undefined ? '' : `0${mode.toString(8)}`;
  const numbers = device === undefined ? '' : `:${majorOf(device)}:${minorOf(device)}`;
  return `${uid ?? ''}:${gid ?? ''}:${octal}${numbers}`;
}

/** Decodes a text; undefined where it is not of this form, as a process of the host may have changed it. */
export function decodeKept(text: string): KeptStatus | undefined {
  const [match, uid, gid, mode, major, minor] = FORM.exec(text) ?? [];
  if (match === undefined) return undefined;
  const kept = {
    ...numberField('uid', uid),
    ...numberField('gid', gid),
    ...(mode !== undefined && mode !== '' && { mode: Number.parseInt(mode, 8) }),
    ...(major !== undefined && { device: deviceNumber(Number(major), Number(minor)) }),
  };
  const isValid =
    (kept.uid ?? 0) <= LARGEST_ID && (kept.gid ?? 0) <= LARGEST_ID && (kept.mode ?? 0) <= 0xffff;
  return isValid ? kept : undefined;
}

function numberField<K extends string>(key: K, text: string | undefined): Partial<Record<K, number>> {
  const field: Partial<Record<K, number>> = {};
  if (text !== undefined && text !== '') field[key] = Number(text);
  return field;
}

function majorOf(device: number): number {
  return (device >>> 8) & 0xfff;
}

function minorOf(device: number): number {
  return (device & 0xff) | ((device >>> 12) & 0xfff00);
}
