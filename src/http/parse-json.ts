import { isAscii, isUtf8, transcode } from 'node:buffer';
import { setImmediate as nextTurn } from 'node:timers/promises';

import { ApiError } from '../api/errors.ts';
import { DEPTH_MAX, VALUES_MAX } from '../schema/bounds.ts';

/** Longest number, in characters: further digits only cost time. */
const NUMBER_MAX = 1000;

const LITERAL = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
/**
 * Parts of a string: a body can have millions of characters, and a loop over them takes six times as long. The number
 * of parts is bounded, as each takes space on the stack of regular expressions.
 */
// oxlint-disable-next-line no-control-regex -- JSON does not allow them inside strings
const STRING_PARTS = /(?:[^"\\\u0000-\u001f]+|\\["\\/bfnrt]|\\u[\da-fA-F]{4}){1,1000}/y;
const SPACE = /[ \n\r\t]*/y;

/** Length, in bytes, from which the steps are turns of the event loop of their own. */
const LARGE = 256 * 1024;

/**
 * Parses a request body: a large one in several turns of the event loop. Errors name the fault and its position, in the same words on every version
 * of Node: `JSON.parse` has a position for some faults only and accepts repeated fields.
 * @throws ApiError `bad-request`
 */
export async function parseJson(bytes: Buffer): Promise<unknown> {
  const endStep = async (): Promise<void> => (bytes.length < LARGE ? undefined : nextTurn());
  if (!isUtf8(bytes)) {
    throw new ApiError('bad-request', `Request body is not UTF-8 at byte ${firstBadByte(bytes)}`);
  }
  const text = textOf(bytes);
  await endStep();
  const fault = new Checker(text).check();
  if (fault !== undefined) {
    throw new ApiError('bad-request', `Request body is not JSON at ${place(text, fault.at)}: ${fault.what}`);
  }
  await endStep();
  const json: unknown = JSON.parse(text);
  await endStep();
  return json;
}

/** Decodes UTF-8, for characters other than ASCII ten times as fast as `Buffer.toString`. */
function textOf(bytes: Buffer): string {
  return isAscii(bytes) ? bytes.toString('latin1') : transcode(bytes, 'utf8', 'utf16le').toString('utf16le');
}

interface Fault {
  readonly at: number;
  readonly what: string;
}

/** Checks a JSON text in one pass. Each method returns a fault, or moves past a valid part. */
class Checker {
  readonly #text: string;
  #at = 0;
  #values = 0;

  constructor(text: string) {
    this.#text = text;
  }

  check(): Fault | undefined {
    const fault = this.#value(0);
    if (fault !== undefined) return fault;
    this.#skipSpace();
    return this.#at < this.#text.length ? this.#expected('the end') : undefined;
  }

  #value(depth: number): Fault | undefined {
    this.#skipSpace();
    this.#values += 1;
    if (this.#values > VALUES_MAX) return { at: this.#at, what: `more than ${VALUES_MAX} values` };
    const first = this.#text[this.#at];
    if ((first === '{' || first === '[') && depth === DEPTH_MAX) {
      return { at: this.#at, what: `nested more than ${DEPTH_MAX} deep` };
    }
    if (first === '{') return this.#list('}', this.#fields(depth + 1));
    if (first === '[') return this.#list(']', () => this.#value(depth + 1));
    if (first === '"') return this.#string();
    const from = this.#at;
    if (!this.#take(LITERAL)) return this.#expected('a value');
    return this.#at - from > NUMBER_MAX ? { at: from, what: 'a number that is too long' } : undefined;
  }

  #list(end: ']' | '}', item: () => Fault | undefined): Fault | undefined {
    this.#at += 1;
    if (this.#takeMark(end)) return undefined;
    for (;;) {
      const fault = item();
      if (fault !== undefined) return fault;
      if (this.#takeMark(end)) return undefined;
      if (!this.#takeMark(',')) return this.#expected(`"," or "${end}"`);
    }
  }

  #fields(depth: number): () => Fault | undefined {
    const seen = new Set<string>();
    return () => {
      this.#skipSpace();
      const start = this.#at;
      if (this.#text[start] !== '"') return this.#expected('a field name');
      const fault = this.#string();
      if (fault !== undefined) return fault;
      const literal = this.#text.slice(start, this.#at);
      const name = literal.includes('\\') ? String(JSON.parse(literal)) : literal.slice(1, -1);
      if (seen.has(name)) return { at: start, what: `field ${JSON.stringify(name)} is there twice` };
      seen.add(name);
      return this.#takeMark(':') ? this.#value(depth) : this.#expected('":"');
    };
  }

  #string(): Fault | undefined {
    this.#at += 1;
    while (this.#take(STRING_PARTS));
    const code = this.#text.charCodeAt(this.#at);
    if (Number.isNaN(code)) return this.#expected('the end of the string');
    if (code === 0x5c) return { at: this.#at, what: 'an unknown escape inside a string' };
    if (code !== 0x22) return { at: this.#at, what: 'a control character inside a string' };
    this.#at += 1;
    return undefined;
  }

  #take(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    if (!pattern.test(this.#text)) return false;
    this.#at = pattern.lastIndex;
    return true;
  }

  #takeMark(mark: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== mark) return false;
    this.#at += 1;
    return true;
  }

  #skipSpace(): void {
    // most values have no space before them
    if (this.#text.charCodeAt(this.#at) <= 0x20) this.#take(SPACE);
  }

  #expected(what: string): Fault {
    const at = this.#at;
    const found = this.#text.codePointAt(at);
    const instead = found === undefined ? 'the end' : JSON.stringify(String.fromCodePoint(found));
    return { at, what: `expected ${what}, found ${instead}` };
  }
}

function place(text: string, at: number): string {
  let line = 1;
  let last = -1;
  for (let i = 0; i < at; i += 1) {
    if (text.charCodeAt(i) !== 0x0a) continue;
    line += 1;
    last = i;
  }
  return `line ${line} column ${at - last}`;
}

/** Returns the position of the first byte that is not UTF-8. A binary search, as a body has millions of bytes. */
function firstBadByte(bytes: Buffer): number {
  // a character begins at `good`, and all before it are valid; the fault is before `bad`
  let good = 0;
  let bad = bytes.length;
  for (;;) {
    const middle = characterStart(bytes, (good + bad) >> 1);
    if (middle <= good) break;
    if (isUtf8(bytes.subarray(good, middle))) good = middle;
    else bad = middle;
  }
  // a prefix that ends inside a character is no fault yet
  const isFault = (end: number): boolean => !isUtf8Start(bytes.subarray(good, end));
  for (let end = good + 1; end < bad; end += 1) if (isFault(end)) return end - 1;
  return bad - 1;
}

/** Returns the start of the character that a byte belongs to; the byte itself where it belongs to none. */
function characterStart(bytes: Buffer, at: number): number {
  for (let start = at; start > at - 4 && start >= 0; start -= 1) {
    if (((bytes[start] ?? 0) & 0xc0) !== 0x80) return start;
  }
  return at;
}

function isUtf8Start(bytes: Buffer): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}
