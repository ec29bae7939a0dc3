import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fleetTable, hostTable, limitsTable, MEASURED, TABLES, withTables } from './scale-model.ts';

const DOCUMENT = readFileSync('docs/scale.md', 'utf8');

test('docs/scale.md has the tables of the model', () => {
  for (const name of Object.keys(TABLES)) assert.ok(DOCUMENT.includes(`<!-- scale: ${name} -->`), name);
  assert.equal(DOCUMENT, withTables(DOCUMENT));
});

test('the tables grow with the number of VMs', () => {
  const { vmmMib, qemuMib, kernelMib, sharedMib, threads } = MEASURED;
  const of100 = hostTable().find(([count]) => count === '100') ?? [];
  const mib = sharedMib + 100 * (vmmMib + qemuMib + kernelMib);
  assert.equal(of100[1], `${Number((mib / 1024).toPrecision(2))} GiB`);
  assert.equal(of100[4], (100 * threads).toLocaleString('en-US'));
  const fleet = fleetTable().find(([count]) => count === '1,000') ?? [];
  assert.equal(fleet[1], '1,000,000');
  assert.equal(fleet[3], '100,000/s');
});

test('limits are in the order in which they are reached', () => {
  const reached = limitsTable()
    .slice(1)
    .map((row) => Number(row[3]?.replaceAll(',', '')));
  assert.deepEqual(
    reached,
    reached.toSorted((a, b) => a - b),
  );
  assert.ok(reached.every((count) => count > 0));
});

test('a document that names another table is refused', () => {
  assert.throws(() => withTables('<!-- scale: other -->\n\n<!-- end -->'), /no table other/);
});
