import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { PAGE_FILES, readPageFiles } from './page-files.ts';

const FOLDER = 'dist/web';

test('the page has at most 350 kB with gzip, and no file that the list lacks', async () => {
  assert.deepEqual(readdirSync(FOLDER).toSorted(), Object.keys(PAGE_FILES).toSorted());
  const sizes = [...(await readPageFiles()).values()].map(({ body }) => gzipSync(body).length);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  assert.ok(total <= 350_000, `${total} bytes`);
});

test('the page loads nothing from elsewhere, and has no script or style in its HTML', () => {
  const html = readFileSync(`${FOLDER}/index.html`, 'utf8');
  assert.doesNotMatch(html, /https?:|<style|<script(?![^>]* src="\/)|\son\w+=/);
  assert.doesNotMatch(readFileSync(`${FOLDER}/page.css`, 'utf8'), /@import|url\(["']?(?:https?:)?\/\//);
});

test('the bundle of the VMM has none of the page’s packages', () => {
  const map = readFileSync('dist/cloud-hypervisor.cjs.map', 'utf8');
  assert.match(map, /"\.\.\/src\/web\/serve-web\.ts"/);
  assert.doesNotMatch(map, /"\.\.\/(?:src\/web\/page|node_modules\/(?:preact|@xterm|uplot))\//);
});
