// Titles of all tests: a reader of a report must see what is broken.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

/** Most characters of a title: it fits into a line of a report. */
const MOST = 89;

/** The first argument of `test`, `t.test` or `describe`, in quotes or as a template. */
const TITLE = /\b(?:test|describe)\(\s*(?:'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`)/g;

function titlesIn(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(TITLE)].map(
    ([, single, double, template]) => single ?? double ?? template ?? '',
  );
}

const files = ['src', 'tests'].flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(folder, name)),
);

test('titles of tests have less than 90 characters', () => {
  const titles = files.flatMap((file) => titlesIn(file).map((title) => ({ file, title })));
  assert.ok(titles.length > 800, `${titles.length} titles`);
  assert.deepEqual(
    titles.filter(({ title }) => title.length > MOST),
    [],
  );
});
