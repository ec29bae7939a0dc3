import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { manifestOf, readChecked, withFacts } from './manifest.ts';

const MACHINE = JSON.stringify({ engine: '10.0', text: 'é "quoted"\\n' });

/** Writes a snapshot into a folder: with `memory-ranges` of a size, or without the file. */
function makeSnapshot(memorySize: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-manifest-'));
  const facts = { engine: 'QEMU 10.0.0', memorySize, regions: [] };
  const state = withFacts(MACHINE, facts);
  assert.deepEqual(
    { ...JSON.parse(state), manifest: undefined },
    { ...JSON.parse(MACHINE), manifest: undefined },
  );
  writeFileSync(join(folder, 'state.json'), state);
  writeFileSync(join(folder, 'manifest.json'), manifestOf(state, facts));
  writeFileSync(join(folder, 'memory-ranges'), '');
  truncateSync(join(folder, 'memory-ranges'), memorySize);
  return folder;
}

/** Returns the result, or the error, of reading a snapshot without some of its files. */
async function readWithout(memorySize: number, taken: readonly string[], change = ''): Promise<string> {
  const folder = makeSnapshot(memorySize);
  try {
    for (const name of taken) rmSync(join(folder, name));
    if (change !== '') writeFileSync(join(folder, 'state.json'), change);
    const { state } = await readChecked(folder);
    return JSON.parse(state.toString('utf8')).text as string;
  } catch (error) {
    return String(error).replaceAll(folder, '');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('a snapshot without RAM of its own needs neither manifest nor memory-ranges', async () => {
  const text = JSON.parse(MACHINE).text as string;
  for (const taken of [[], ['memory-ranges'], ['manifest.json', 'memory-ranges']]) {
    assert.equal(await readWithout(0, taken), text, taken.join());
  }
});

test('a snapshot with RAM needs both files, and the error names the missing one', async () => {
  assert.match(await readWithout(4096, ['memory-ranges']), /memory-ranges: no such file/);
  assert.match(await readWithout(4096, ['manifest.json']), /there is no manifest: it was never finished/);
  const both = await readWithout(4096, ['manifest.json', 'memory-ranges']);
  assert.match(both, /memory-ranges: no such file, and the snapshot has RAM in it/);
});

test('a state that was changed is refused, with and without a manifest', async () => {
  const facts = { engine: 'QEMU 10.0.0', memorySize: 0, regions: [] };
  const changed = withFacts(MACHINE, facts).replace('quoted', 'edited');
  const noManifest = ['manifest.json', 'memory-ranges'];
  assert.match(await readWithout(0, [], changed), /state\.json: is not what was written/);
  assert.match(await readWithout(0, noManifest, changed), /state\.json: is not what was written/);
  for (const other of ['{}', ' ', MACHINE]) {
    assert.match(await readWithout(0, noManifest, other), /there is no manifest/);
  }
});
