import assert from 'node:assert/strict';
import { closeSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { createMemfd } from './memfd.ts';

function openMemfds(name: string): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      // the descriptor of the listing itself is closed
      return '';
    }
  });
  return links.filter((link) => link.startsWith(`/memfd:${name}`)).length;
}

test('a file in memory has its content until it is disposed of', async () => {
  const memfd = await createMemfd('memfd-test', 'text');
  assert.equal(readFileSync(memfd.path, 'utf8'), 'text');
  assert.equal(openMemfds('memfd-test'), 1);
  memfd[Symbol.dispose]();
  assert.equal(openMemfds('memfd-test'), 0);
});

test('a file whose content cannot be written is closed', async () => {
  // a value that Node refuses to write
  const content = Object.create(Uint8Array.prototype) as Uint8Array;
  await assert.rejects(createMemfd('memfd-fail', content));
  assert.equal(openMemfds('memfd-fail'), 0);
});

test('an empty file can be written by its path', async () => {
  const { fd, path } = await createMemfd('memfd-empty');
  assert.equal(readFileSync(path).length, 0);
  closeSync(fd);
});
