import { createHash } from 'node:crypto';

/** Numbers of values are below it, so that both kinds differ. */
const FIRST_OF_VALUES = 2n ** 62n;

/** Inode number of the first object. */
const FIRST = 2n;

/**
 * Inode numbers of nodes whose provider gives none. A node has the same number for as long as the numbers exist, also after FORGET: an object has the next free number, a string or another value a hash of it.
 */
export class InodeNumbers {
  readonly #ofObjects = new WeakMap<WeakKey, bigint>();
  #next = FIRST;

  numberOf(node: unknown): bigint {
    if (!isObject(node)) return hashOf(node);
    const known = this.#ofObjects.get(node);
    if (known !== undefined) return known;
    const number = this.#next++;
    this.#ofObjects.set(node, number);
    return number;
  }
}

function isObject(node: unknown): node is WeakKey {
  return (typeof node === 'object' && node !== null) || typeof node === 'function';
}

function hashOf(node: unknown): bigint {
  const hash = createHash('sha256')
    .update(`${typeof node}:${String(node)}`)
    .digest();
  return FIRST_OF_VALUES | (hash.readBigUInt64LE() % FIRST_OF_VALUES);
}
