import { isUtf8 } from 'node:buffer';

import { ApiError } from '../api/errors.ts';

/** As deep as the original goes; no document of the API comes near it. */
const MAX_DEPTH = 128;

const LITERAL = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[\da-fA-F]{4})/y;

/**
 * Parses a request body. What is wrong with it is said with its position, in the same words on every version
 * of Node: `JSON.parse` gives a position for some faults only and knows no repeated fields.
 */
export function parseJson(bytes: Buffer): unknown {
  if (!isUtf8(bytes)) {
    throw new ApiError('bad-request', `Request body is not UTF-8 at byte ${firstBadByte(bytes)}`);
  }
  const text = bytes.toString('utf8');
  const fault = new Checker(text).check();
  if (fault !== undefined) {
    throw new ApiError('bad-request', `Request body is not JSON at ${place(text, fault.at)}: ${fault.what}`);
  }
  return JSON.parse(text);
}

interface Fault {
  readonly at: number;
  readonly what: string;
}

/** Walks a JSON text once. Each method returns the fault that it met, and moves on when there is none. */
class Checker {
  readonly #text: string;
  #at = 0;

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
    const first = this.#text[this.#at];
    if ((first === '{' || first === '[') && depth === MAX_DEPTH) {
      return { at: this.#at, what: `nested more than ${MAX_DEPTH} deep` };
    }
    if (first === '{') return this.#list('}', this.#fields(depth + 1));
    if (first === '[') return this.#list(']', () => this.#value(depth + 1));
    if (first === '"') return this.#string();
    return this.#take(LITERAL) ? undefined : this.#expected('a value');
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
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code === 0x22) break;
      if (Number.isNaN(code)) return this.#expected('the end of the string');
      if (code < 0x20) return { at: this.#at, what: 'a control character inside a string' };
      if (code !== 0x5c) this.#at += 1;
      else if (!this.#take(ESCAPE)) return { at: this.#at, what: 'an unknown escape inside a string' };
    }
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
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at += 1;
    }
  }

  #expected(what: string): Fault {
    const at = this.#at;
    const found = this.#text.codePointAt(at);
    const instead = found === undefined ? 'the end' : JSON.stringify(String.fromCodePoint(found));
    return { at, what: `expected ${what}, found ${instead}` };
  }
}

function place(text: string, at: number): string {
  const before = text.slice(0, at);
  const line = before.split('\n').length;
  return `line ${line} column ${at - before.lastIndexOf('\n')}`;
}

/** A prefix that ends inside a character is still good, so that "bad from here on" can be searched by halves. */
function firstBadByte(bytes: Buffer): number {
  let good = 0;
  let bad = bytes.length;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (isUtf8Start(bytes.subarray(0, middle))) good = middle;
    else bad = middle;
  }
  return good;
}

function isUtf8Start(bytes: Buffer): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}
