import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadLibc } from '../../native/libc.ts';
import { type Identity, type Inode, InodeTable, MAX_LINKS, ROOT_INODE } from './inode-table.ts';

await loadLibc();

const DIRECTORY = 4;
const REGULAR = 8;

const identity = (inode: number, type = REGULAR, birth = 0): Identity => ({
  device: 1,
  inode: BigInt(inode),
  birth,
  type,
});

const bytes = (text: string): Uint8Array => Buffer.from(text);

/** A table, and the inodes that it has removed. */
function emptyTable(maxLinks?: number) {
  const removed: Inode[] = [];
  const table = new InodeTable(identity(1, DIRECTORY), (inode) => removed.push(inode), maxLinks);
  return { table, removed };
}

/** Adds an inode with one reference and a name in a directory. */
function add(table: InodeTable, of: Identity, parent = ROOT_INODE, name = `name-${of.inode}`): Inode {
  const inode = table.add(of);
  table.link(inode, parent, bytes(name));
  table.retain(inode);
  return inode;
}

function namesOf(table: InodeTable, inode: Inode): string[] {
  const names: string[] = [];
  for (let link = table.firstLink(inode); link !== 0; link = table.links.nextOf(link))
    names.push(`${table.links.parentOf(link)}/${Buffer.from(table.links.nameBytes(link)).toString()}`);
  return names;
}

test('an inode is found by its numbers until its last reference is dropped', () => {
  const { table, removed } = emptyTable();
  const inode = add(table, identity(5));
  table.retain(inode);
  assert.equal(table.find(identity(5)), inode);
  table.forget(inode, 1);
  assert.equal(table.find(identity(5)), inode);
  table.forget(inode, 1);
  assert.equal(table.find(identity(5)), 0);
  assert.ok(!table.has(inode));
  assert.deepEqual(removed, [inode]);
});

test('more references than there are, unknown inodes and the root are dropped without effect', () => {
  const { table } = emptyTable();
  const inode = add(table, identity(5));
  table.forget(inode, 1000);
  for (const unknown of [inode, 0, 999, 2 ** 53 - 1, ROOT_INODE]) table.forget(unknown, 1);
  assert.ok(table.has(ROOT_INODE));
  assert.equal(table.count, 1);
});

test('a directory stays while an inode has a name in it', () => {
  const { table } = emptyTable();
  const outer = add(table, identity(2, DIRECTORY));
  const inner = add(table, identity(3, DIRECTORY), outer);
  const file = add(table, identity(4), inner);
  table.forget(outer, 1);
  table.forget(inner, 1);
  assert.ok(table.has(outer) && table.has(inner));
  table.forget(file, 1);
  assert.equal(table.count, 1);
});

test('an inode with the numbers of another file is not found', () => {
  const { table } = emptyTable();
  const former = add(table, identity(5, REGULAR, 100));
  assert.equal(table.find(identity(5, REGULAR, 200)), 0);
  const next = add(table, identity(5, REGULAR, 200));
  assert.equal(table.find(identity(5, REGULAR, 200)), next);
  table.forget(former, 1);
  assert.equal(table.find(identity(5, REGULAR, 200)), next);
});

test('a file has its newest names, a directory its newest one', () => {
  const { table } = emptyTable();
  const file = add(table, identity(5), ROOT_INODE, 'first');
  for (let i = 0; i < MAX_LINKS + 3; i++) table.link(file, ROOT_INODE, bytes(`n${i}`));
  assert.equal(namesOf(table, file).length, MAX_LINKS);
  assert.equal(namesOf(table, file)[0], `1/n${MAX_LINKS + 2}`);
  table.link(file, ROOT_INODE, bytes('n5'));
  assert.equal(namesOf(table, file)[0], '1/n5');
  assert.equal(namesOf(table, file).length, MAX_LINKS);
  const directory = add(table, identity(6, DIRECTORY), ROOT_INODE, 'old');
  table.link(directory, ROOT_INODE, bytes('new'));
  assert.deepEqual(namesOf(table, directory), ['1/new']);
});

test('a name that is removed is the one that was named', () => {
  const { table } = emptyTable();
  const file = add(table, identity(5), ROOT_INODE, 'a');
  table.link(file, ROOT_INODE, bytes('b'));
  table.link(file, ROOT_INODE, bytes('c'));
  table.unlink(file, ROOT_INODE, bytes('b'));
  table.unlink(file, ROOT_INODE, bytes('none'));
  assert.deepEqual(namesOf(table, file), ['1/c', '1/a']);
  table.unlink(file, ROOT_INODE, bytes('c'));
  table.unlink(file, ROOT_INODE, bytes('a'));
  assert.deepEqual(namesOf(table, file), []);
});

test('inodes that are added and removed at random are those of a map', () => {
  const { table } = emptyTable();
  const model = new Map<number, { inode: Inode; name: string }>();
  let seed = 7;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return (seed >>> 4) % below;
  };
  for (let i = 0; i < 60_000; i++) {
    const number = 2 + random(5000);
    const known = model.get(number);
    if (known === undefined) {
      const name = 'x'.repeat(1 + random(200)) + number;
      model.set(number, { inode: add(table, identity(number), ROOT_INODE, name), name });
    } else if (random(3) === 0) {
      table.forget(known.inode, 1);
      model.delete(number);
    } else {
      table.unlink(known.inode, ROOT_INODE, bytes(known.name));
      known.name = `moved-${i}`;
      table.link(known.inode, ROOT_INODE, bytes(known.name));
    }
  }
  assert.equal(table.count, model.size + 1);
  for (const [number, { inode, name }] of model) {
    assert.equal(table.find(identity(number)), inode);
    assert.deepEqual(namesOf(table, inode), [`1/${name}`]);
  }
  assert.ok(table.bytes < 4 * 2 ** 20, `${table.bytes} bytes for ${table.count} inodes`);
});

test('100,000 inodes with names of 20 bytes need less than 20 MiB', () => {
  const { table } = emptyTable();
  for (let i = 0; i < 100_000; i++)
    add(table, identity(i + 2), ROOT_INODE, `name-${String(i).padStart(15, '0')}`);
  assert.ok(table.bytes < 20 * 2 ** 20, `${table.bytes} bytes`);
  for (let i = 0; i < 100_000; i += 1000) assert.ok(table.find(identity(i + 2)) > 0);
  table.clear();
  assert.ok(table.bytes < 2 ** 20, `${table.bytes} bytes after clear`);
});

test('where there are too many names, an inode keeps its newest one', () => {
  const { table } = emptyTable(5);
  const nodes = Array.from({ length: 20 }, (_, i) => add(table, identity(100 + i)));
  for (const inode of nodes)
    for (let i = 0; i < MAX_LINKS; i++) table.link(inode, ROOT_INODE, bytes(`${inode}-${i}`));
  assert.equal(table.links.count, nodes.length);
  for (const inode of nodes) assert.deepEqual(namesOf(table, inode), [`1/${inode}-${MAX_LINKS - 1}`]);
  for (const inode of nodes) table.forget(inode, 1);
  assert.equal(table.links.count, 0);
});
