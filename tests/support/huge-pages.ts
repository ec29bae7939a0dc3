import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';

const POOL = '/sys/kernel/mm/hugepages/hugepages-2048kB';

/** Adds huge pages of 2 MiB until the test ends; other tests may add more at the same time. */
export function withHugePages(pages: number): Disposable {
  const read = (name: string): number => Number(readFileSync(`${POOL}/${name}`, 'utf8'));
  const add = (more: number): void =>
    writeFileSync(`${POOL}/nr_hugepages`, String(read('nr_hugepages') + more));
  add(pages);
  const free = read('free_hugepages');
  assert.ok(free >= pages, `the host has ${free} free huge pages of ${pages} (${POOL})`);
  return { [Symbol.dispose]: () => add(-pages) };
}
