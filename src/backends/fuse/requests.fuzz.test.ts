// Hostile requests over real rings: the file system gets valid arguments only, each request is returned with a valid reply (the
// driver checks its header), and the device serves the next one.
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import { array, assert as check, constantFrom, property } from 'fast-check';
import { viewOf } from '../../native/memory.ts';
import type { FileSystem, Name } from './file-system.ts';
import { Opcode } from './opcodes.ts';
import { nameBytes, startDriver, type TestDriver } from './test-driver.ts';
import { ATTRIBUTES, filesWith } from './test-files.ts';
import { hostileRequest } from './test-requests.ts';

const { ENOENT } = constants.errno;

/** Checks a value that the file system gets, and all values in it. */
function checkArgument(key: string, value: unknown): void {
  if (typeof value === 'number') checkNumber(key, value);
  if (typeof value !== 'object' || value === null) return;
  if (isName(value)) return checkNameOf(key, value);
  if (value instanceof Uint8Array || 'each' in value || 'fits' in value) return;
  const isPlace = 'parent' in value;
  for (const [member, one] of Object.entries(value))
    checkArgument(isPlace && member === 'name' ? 'entry' : member, one);
}

function checkNumber(key: string, value: number): void {
  const least = key === 'seconds' ? Number.MIN_SAFE_INTEGER : 0;
  assert.ok(Number.isSafeInteger(value) && value >= least, `${key} is ${value}`);
  if (['node', 'parent'].includes(key)) assert.ok(value > 0, `${key} is ${value}`);
  if (key === 'nanoseconds') assert.ok(value < 1e9);
}

function isName(value: object): value is Name {
  return 'address' in value && 'bytes' in value;
}

/** Checks a name as a system call gets it. */
function checkNameOf(key: string, { bytes, address }: Name): void {
  assert.ok(bytes.length > 0 && !bytes.includes(0));
  assert.deepEqual([...new Uint8Array(viewOf(address, bytes.length + 1).buffer)], [...bytes, 0]);
  const text = Buffer.from(bytes).toString('latin1');
  if (key === 'entry') assert.ok(bytes.length <= 255 && !text.includes('/') && text !== '.' && text !== '..');
  else assert.ok(bytes.length <= 4095);
}

/** Results that a file system with faults may have: of another kind, with errors that are none, or exceptions. */
const RESULTS: readonly unknown[] = [
  ...[0, ENOENT, -ENOENT, 1e9, -1e9, 0.5, Number.NaN, 2 ** 53],
  { node: 5, attributes: ATTRIBUTES, handle: 3 },
  { handle: 3 },
  ATTRIBUTES,
  new Uint8Array(100),
  new Uint8Array(100_000),
  undefined,
  null,
  'throw',
];

/** A file system that checks its arguments, and returns one of the results after the other. */
function checking(results: readonly unknown[], failed: (error: unknown) => void): FileSystem {
  let calls = 0;
  const method = (...args: unknown[]): unknown => {
    try {
      for (const [i, one] of args.entries()) checkArgument(i === nodeIndex(args) ? 'node' : 'argument', one);
    } catch (error) {
      failed(error);
    }
    const result = results[calls++ % results.length];
    if (result === 'throw') throw new Error('a fault of the file system');
    return result;
  };
  const methods = Object.fromEntries(Object.keys(filesWith({})).map((name) => [name, method]));
  return filesWith(methods);
}

/** An inode is the first argument, or the second one behind the caller. */
function nodeIndex([first]: readonly unknown[]): number {
  if (typeof first === 'number') return 0;
  return typeof first === 'object' && first !== null && 'pid' in first ? 1 : -1;
}

function isServing(driver: TestDriver): boolean {
  return (
    driver.init().error === 0 &&
    driver.call({ opcode: Opcode.Lookup, body: [nameBytes('a')] }).error !== undefined
  );
}

test('hostile requests reach a file system with valid arguments only', () => {
  check(
    property(
      array(hostileRequest, { minLength: 1, maxLength: 60 }),
      array(constantFrom(...RESULTS), { minLength: 1 }),
      (requests, results) => {
        const failures: unknown[] = [];
        using driver = startDriver({ files: checking(results, (error) => failures.push(error)), queues: 2 });
        driver.init();
        for (const request of requests) driver.call(request);
        assert.ok(isServing(driver));
        assert.deepEqual(failures, []);
      },
    ),
    { numRuns: 150 },
  );
});
