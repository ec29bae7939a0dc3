// Programs in machine code, executed on this host.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { executable } from './elf.ts';
import {
  add,
  atLeast,
  atMost,
  bitAnd,
  bitOr,
  both,
  byteAt,
  bytes,
  call,
  define,
  either,
  equal,
  give,
  greater,
  intAt,
  less,
  loop,
  multiply,
  not,
  set,
  space,
  storeByte,
  storeInt,
  storeWord,
  subtract,
  system,
  text,
  unequal,
  when,
  wordAt,
  type ProgramFunction,
  type Value,
} from './program.ts';

const x64 = { skip: process.arch !== 'x64' && 'the programs are for x86-64' };

/** Runs a program, whose `main` gives its exit code. */
function exitCodeOf(...functions: readonly ProgramFunction[]): number | null {
  const folder = mkdtempSync(join(tmpdir(), 'program-'));
  try {
    writeFileSync(join(folder, 'program'), executable(functions), { mode: 0o755 });
    return spawnSync(join(folder, 'program'), ['one', 'two'], { timeout: 10_000 }).status;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const valueOf = (value: Value): number | null => exitCodeOf(define('main', ['stack'], [give(value)]));

test('operators', x64, () => {
  const cases: readonly (readonly [Value, number])[] = [
    [add(40, 2), 42],
    [subtract(3, 5), 254],
    [multiply(multiply(1000, 1000), 3), 3_000_000 & 0xff],
    [bitAnd(0b1100, 0b1010), 0b1000],
    [bitOr(0b1100, 0b1010), 0b1110],
    [equal(7, 7), 1],
    [unequal(7, 7), 0],
    [less(-1, 0), 1],
    [less(0, -1), 0],
    [greater(5, 4), 1],
    [atLeast(4, 4), 1],
    [atMost(5, 4), 0],
    [not(0), 1],
    [equal(add(0x7fff_ffff, 1), 0x8000_0000), 1],
    [equal(subtract(0, 0xfee1_dead), -0xfee1_dead), 1],
  ];
  for (const [value, expected] of cases) assert.equal(valueOf(value), expected, JSON.stringify(value));
});

test('the right side of `both` and `either` is evaluated only if it counts', x64, () => {
  const crash = byteAt(0);
  assert.equal(valueOf(both(0, crash)), 0);
  assert.equal(valueOf(either(5, crash)), 1);
  assert.equal(valueOf(both(2, 4)), 1);
  assert.equal(valueOf(either(0, 0)), 0);
});

test('functions take values in order, and may call themselves', x64, () => {
  const sum = define(
    'sum',
    ['n'],
    [when(equal('n', 0), [give(0)]), give(add('n', call('sum', subtract('n', 1))))],
  );
  assert.equal(exitCodeOf(sum, define('main', ['stack'], [give(call('sum', 10))])), 55);
  const minus = define('minus', ['a', 'b'], [give(subtract('a', 'b'))]);
  assert.equal(
    exitCodeOf(minus, define('main', ['stack'], [give(call('minus', 9, call('minus', 5, 2)))])),
    6,
  );
  assert.equal(exitCodeOf(define('main', ['stack'], [set('x', 3)])), 0, 'no value');
});

test('memory of each width, texts and bytes', x64, () => {
  const memory = space('memory', 16);
  const main = (...body: Parameters<typeof define>[2]) => exitCodeOf(define('main', ['stack'], body));
  assert.equal(main(storeWord(memory, -1), storeByte(memory, 5), give(equal(wordAt(memory), -251))), 1);
  assert.equal(main(storeWord(memory, -1), storeInt(memory, 0), give(equal(wordAt(memory), -(2 ** 32)))), 1);
  assert.equal(main(storeInt(memory, -1), give(equal(intAt(memory), 0xffff_ffff))), 1);
  assert.equal(main(give(byteAt(add(text('ab'), 1)))), 0x62);
  assert.equal(main(give(byteAt(add(text('ab'), 2)))), 0);
  assert.equal(main(give(byteAt(add(bytes([1, 2, 3]), 2)))), 3);
});

test('loops, and the initial stack', x64, () => {
  const body = [
    set('at', wordAt(add('stack', 16))),
    set('length', 0),
    loop(byteAt(add('at', 'length')), [set('length', add('length', 1))]),
    give(add(multiply('length', 10), wordAt('stack'))),
  ];
  assert.equal(exitCodeOf(define('main', ['stack'], body)), 33, 'length of "one", 3 arguments');
});

test('system calls take six values in order', x64, () => {
  const MMAP = 9;
  const map = system(MMAP, 0, 4096, 3, 0x22, -1, 0);
  const body = [set('at', map), storeByte(add('at', 4095), 77), give(byteAt(add('at', 4095)))];
  assert.equal(exitCodeOf(define('main', ['stack'], body)), 77);
});

test('mistakes in a program are errors of its compilation', () => {
  const compile =
    (...functions: readonly ProgramFunction[]) =>
    (): Buffer =>
      executable(functions);
  assert.throws(compile(define('main', ['s'], [give('x')])), /variable x is not set/);
  assert.throws(compile(define('main', ['s'], [give(call('absent'))])), /absent/);
  const one = define('one', ['a'], []);
  assert.throws(compile(one, define('main', ['s'], [give(call('one'))])), /one with 0 values/);
  assert.throws(compile(one, one, define('main', ['s'], [])), /same name/);
});

test('the stack and the data of a program are not executable', () => {
  const program = executable([define('main', ['s'], [give(byteAt(space('data', 8)))])]);
  const flags = [0, 1, 2].map((index) => program.readUInt32LE(64 + 56 * index + 4));
  assert.deepEqual(flags, [5, 6, 6]);
});
