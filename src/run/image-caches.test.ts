import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { layerDiskName } from './guest-tools/layer-disk.ts';
import { removeImageCaches, warmBytesOf } from './image-caches.ts';

const home = mkdtempSync(join(tmpdir(), 'nephos-caches-'));
after(() => rmSync(home, { recursive: true, force: true }));
const folders = { warm: join(home, 'warm'), disks: join(home, 'disks') };
const store = join(home, 'layers');
for (const folder of [folders.warm, folders.disks, store]) mkdirSync(folder, { mode: 0o700 });

const diffId = (index: number): string => `sha256:${String(index).padStart(64, '0')}`;
const small = { layers: [diffId(1), diffId(2)] };
const large = { layers: Array.from({ length: 25 }, (_, i) => diffId(i)) };
const layerFile = (index: number): string => join(store, `${diffId(index).slice(7)}.squashfs`);
/** 25 layers on 20 disks: the lowest six are on one. */
const largeDisk = join(folders.disks, layerDiskName(large.layers.slice(0, 6)));
const otherDisk = join(folders.disks, 'f'.repeat(64));

function makeFiles(): void {
  for (let i = 0; i < 25; i++) writeFileSync(layerFile(i), 'layer');
  for (const path of [largeDisk, otherDisk, join(folders.disks, '.half')]) writeFileSync(path, 'disk');
  makeSnapshot('of-small', [layerFile(1), layerFile(2)]);
  makeSnapshot('of-large', [largeDisk, ...Array.from({ length: 19 }, (_, i) => layerFile(i + 6))]);
  makeSnapshot('of-kernel', []);
}

function makeSnapshot(name: string, paths: readonly string[]): void {
  const snapshot = join(folders.warm, name, 'snapshot');
  mkdirSync(snapshot, { recursive: true });
  writeFileSync(join(snapshot, 'config.json'), JSON.stringify({ disks: paths.map((path) => ({ path })) }));
  writeFileSync(join(snapshot, 'memory-ranges'), Buffer.alloc(20_000));
}

test('warm snapshots count for the image whose disks they have', async () => {
  makeFiles();
  const bytes = await warmBytesOf([small, large, { layers: [diffId(9)] }, { layers: [] }], folders);
  assert.deepEqual(
    bytes.map((one) => one >= 20_000),
    [true, true, false, false],
  );
});

test('disks that no image needs are removed, with the snapshots that lack a disk', async () => {
  makeFiles();
  const first = await removeImageCaches([small, large], folders);
  assert.deepEqual([first.disks, first.snapshots], [1, 0]);
  assert.deepEqual(readdirSync(folders.disks).length, 2);
  rmSync(layerFile(2));
  const second = await removeImageCaches([], folders);
  assert.deepEqual([second.disks, second.snapshots], [1, 2]);
  assert.ok(second.freed >= 40_000);
  assert.deepEqual(readdirSync(folders.warm), ['of-kernel']);
  assert.deepEqual(readdirSync(folders.disks), ['.half']);
});
