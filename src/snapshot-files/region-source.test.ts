import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SavedRegion } from './memory-layout.ts';
import { joinInFile, piecesOf, regionSources, type ChainMember } from './region-source.ts';

const member = (folder: string, ...regions: SavedRegion[]): ChainMember => ({
  folder,
  path: `${folder}/memory-ranges`,
  identity: '',
  regions,
});
const run = (offset: number, length: number) => ({ offset, length });
const FULL = member('/full', { id: 'ram', offset: 100, length: 50 });
const OLD = member('/old', { id: 'ram', offset: 0, length: 50, pages: [run(10, 10), run(30, 5)] });
const NEW = member('/new', { id: 'ram', offset: 200, length: 50, pages: [run(15, 5), run(40, 10)] });

test('a full snapshot has the whole region', () => {
  const whole = { path: '/full/memory-ranges', offset: 100 };
  assert.deepEqual(regionSources([FULL]), [{ id: 'ram', length: 50, whole, newer: [] }]);
});

test('the newest snapshot that has a page decides', () => {
  const [source] = regionSources([NEW, OLD, FULL]);
  assert.deepEqual(source?.newer, [
    { path: '/old/memory-ranges', offset: 10, length: 5, at: 0 },
    { path: '/new/memory-ranges', offset: 15, length: 5, at: 200 },
    { path: '/old/memory-ranges', offset: 30, length: 5, at: 10 },
    { path: '/new/memory-ranges', offset: 40, length: 10, at: 205 },
  ]);
});

test('a region that a differential snapshot has as a whole hides that of its base', () => {
  const whole = member('/whole', { id: 'ram', offset: 0, length: 50 });
  assert.deepEqual(regionSources([NEW, whole, FULL])[0]?.whole.path, '/whole/memory-ranges');
});

test('runs of a region are in pieces of several files, in their order', () => {
  const [source] = regionSources([NEW, OLD, FULL]);
  assert.ok(source !== undefined);
  assert.deepEqual(piecesOf(source, [run(5, 12), run(33, 10)]), [
    { path: '/full/memory-ranges', offset: 5, length: 5, at: 105 },
    { path: '/old/memory-ranges', offset: 10, length: 5, at: 0 },
    { path: '/new/memory-ranges', offset: 15, length: 2, at: 200 },
    { path: '/old/memory-ranges', offset: 33, length: 2, at: 13 },
    { path: '/full/memory-ranges', offset: 35, length: 5, at: 135 },
    { path: '/new/memory-ranges', offset: 40, length: 3, at: 205 },
  ]);
});

test('pieces that follow each other in a file are one read', () => {
  const pieces = [
    { path: '/a', offset: 0, length: 5, at: 10 },
    { path: '/a', offset: 20, length: 5, at: 15 },
    { path: '/b', offset: 30, length: 5, at: 20 },
    { path: '/b', offset: 40, length: 5, at: 26 },
  ];
  assert.deepEqual(joinInFile(pieces), [
    { path: '/a', at: 10, length: 10 },
    { path: '/b', at: 20, length: 5 },
    { path: '/b', at: 26, length: 5 },
  ]);
});

test('a base without a region, or with another size of it, is named', () => {
  const other = member('/other', { id: 'dimm1', offset: 0, length: 50 });
  assert.throws(() => regionSources([NEW, other]), { message: /^\/other: has no region ram/ });
  const small = member('/small', { id: 'ram', offset: 0, length: 10 });
  assert.throws(() => regionSources([NEW, small]), {
    message: '/small: its region ram has 10 bytes, not 50',
  });
  assert.throws(() => regionSources([NEW, OLD]), { message: /^\/old: has only a part of the region ram/ });
});

test('a region in the file of a memory zone has no source', () => {
  assert.deepEqual(regionSources([member('/z', { id: 'ram', offset: 0, length: 50, zone: 'z' })]), []);
});
