/** Parsed `state.json`. */
export interface ParsedState {
  /** its members; `deviceState` may be empty */
  readonly members: unknown;
  /** Returns QEMU's migration stream, which is the member `deviceState` in base64; empty if there is no such text. */
  readonly deviceState: () => Buffer;
}

/** Begin of the last member, which is nearly the whole file. */
const LAST = ',"deviceState":"';

/** Most bytes behind its text: a brace, and white space. */
const REST_BYTES = 16;

/**
 * Parses `state.json`. The long text that is its last member is left out where it can be: a parse of all takes 1 ms, which each snapshot of a
 * chain would cost a restore.
 * @throws SyntaxError
 */
export function parseState(bytes: Buffer): ParsedState {
  const place = placeOfLast(bytes);
  if (place === undefined) return parseWhole(bytes);
  const { at, start, end } = place;
  const members: unknown = JSON.parse(`${bytes.toString('utf8', 0, at)},"deviceState":""}`);
  return { members, deviceState: () => Buffer.from(bytes.toString('latin1', start, end), 'base64') };
}

/** Finds the last member; undefined if it is no text without escapes. The same bytes within a text would have backslashes. */
function placeOfLast(bytes: Buffer): { at: number; start: number; end: number } | undefined {
  const at = bytes.indexOf(LAST);
  if (at < 0) return undefined;
  const start = at + LAST.length;
  const end = bytes.indexOf('"', start);
  const rest = bytes.subarray(end + 1);
  if (end < 0 || rest.length > REST_BYTES || rest.toString('latin1').trim() !== '}') return undefined;
  return bytes.subarray(start, end).includes('\\') ? undefined : { at, start, end };
}

function parseWhole(bytes: Buffer): ParsedState {
  const members: unknown = JSON.parse(bytes.toString('utf8'));
  const has = typeof members === 'object' && members !== null && 'deviceState' in members;
  const text = has && typeof members.deviceState === 'string' ? members.deviceState : '';
  return { members, deviceState: () => Buffer.from(text, 'base64') };
}
