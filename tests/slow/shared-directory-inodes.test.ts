// A million inodes of a shared directory, in this process: memory, descriptors, state.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { ROOT } from '../../src/backends/fuse/file-system.ts';
import { CALLER, result, share, TestShare } from '../../src/backends/fs/test-share.ts';

const DIRECTORIES = 500;
const FILES = 2000;
const MIB = 2 ** 20;

/** Returns the resident memory of this process in bytes. */
function residentBytes(): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return Number(kib) * 1024;
}

/** Looks up all files through READDIRPLUS. @returns their inodes */
function lookUpAll(shared: TestShare): Uint32Array {
  const nodes = new Uint32Array(DIRECTORIES * FILES);
  let count = 0;
  for (let i = 0; i < DIRECTORIES; i++) {
    const { node } = shared.lookup(`directory-${i}`);
    const { handle } = result(shared.fs.opendir(CALLER, node));
    const sink = {
      plus: true,
      fits: () => true,
      add: (_entry: unknown, found?: { node: number }) => {
        if (found !== undefined) nodes[count++] = found.node;
      },
    };
    assert.equal(shared.fs.readdir(CALLER, { node, handle, offset: 0n }, sink), 0);
    shared.fs.releasedir(node, handle);
  }
  assert.equal(count, nodes.length);
  return nodes;
}

test('a million inodes need less than 160 MiB and few descriptors, and are saved and loaded', () => {
  using shared = share({ descriptors: 1000 });
  for (let i = 0; i < DIRECTORIES; i++) {
    mkdirSync(shared.at(`directory-${i}`));
    for (let j = 0; j < FILES; j++) writeFileSync(shared.at(`directory-${i}`, `file-${j}`), '');
  }
  const before = residentBytes();
  const nodes = lookUpAll(shared);
  const used = residentBytes() - before;
  assert.ok(used < 160 * MIB, `${used} bytes`);
  assert.ok(readdirSync('/proc/self/fd').length < 400);
  for (let i = 0; i < nodes.length; i += 9973) assert.equal(shared.getattr(nodes[i] ?? 0).size, 0);
  const state = shared.fs.save();
  using other = new TestShare({ path: shared.path, descriptors: 1000 });
  other.fs.load(state);
  for (let i = 0; i < nodes.length; i += 9973) assert.equal(other.getattr(nodes[i] ?? 0).size, 0);
  for (const node of nodes) shared.fs.forget(node, 1);
  const { node } = result(shared.fs.lookup(CALLER, shared.place(ROOT, 'directory-0')));
  assert.ok(node > 0);
});
