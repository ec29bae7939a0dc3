import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import type { OciImage } from './image.ts';
import { ImageError } from './image-error.ts';
import { openAnyImage } from './open-image.ts';
import { useStore } from './store/store.ts';
import { listStored, pruneStored, removeStoredImage } from './stored-images.ts';
import { makeTestImage, makeTestStore, writeLayout, type TestImage, type TestStore } from './test-image.ts';

const run = promisify(execFile);

/** Opens the image with a tag of the test's layout. */
async function open({ context, folder }: TestStore, tag = 'one'): Promise<OciImage> {
  const image = await openAnyImage(context, `oci:${folder}/layout:${tag}`, { platform: 'linux/amd64' });
  assert.equal(image.kind, 'oci');
  return image;
}

async function makeLayout({ folder }: TestStore, ...contents: string[]): Promise<TestImage[]> {
  const images = await Promise.all(contents.map((content) => makeTestImage(content)));
  await writeLayout(
    join(folder, 'layout'),
    Object.fromEntries(images.map((image, i) => [contents[i] ?? '', image])),
  );
  return images;
}

function pathOf(image: OciImage): string {
  return image.layers[0]?.path ?? '';
}

/** Makes a name look unused for a day. */
function makeOld({ store }: TestStore): void {
  const names = join(store.directory, 'names');
  const then = new Date(Date.now() - 24 * 3600 * 1000);
  for (const name of readdirSync(names)) utimesSync(join(names, name), then, then);
}

test('an image of a layout is listed with its name, digest, platform and size', async () => {
  await using test = await makeTestStore();
  const [made] = await makeLayout(test, 'one');
  const image = await open(test);
  const [listed, ...others] = await listStored(test.store);
  assert.deepEqual(others, []);
  assert.deepEqual(listed?.names, [`oci:${test.folder}/layout:one`]);
  assert.equal(listed.digest, made?.manifest.digest);
  assert.equal(listed.platform, 'linux/amd64');
  assert.equal(listed.isComplete, true);
  const documents = (made?.manifest.bytes.length ?? 0) + (made?.config.bytes.length ?? 0);
  assert.equal(listed.size, documents + statSync(pathOf(image)).size);
});

test('truncated and replaced files of the store are made again', async () => {
  await using test = await makeTestStore();
  await makeLayout(test, 'one');
  const image = await open(test);
  const path = pathOf(image);
  const size = statSync(path).size;
  chmodSync(path, 0o600);
  truncateSync(path, size - 1);
  assert.equal((await listStored(test.store))[0]?.isComplete, false);
  await open(test);
  assert.equal(statSync(path).size, size);
  await rm(path);
  symlinkSync('/etc/passwd', path);
  await open(test);
  assert.equal(statSync(path).size, size);
  assert.equal(statSync(path).mode & 0o777, 0o400);
});

test('a removed name removes the files that no other image needs', async () => {
  await using test = await makeTestStore();
  await makeLayout(test, 'one', 'two');
  const [one, two] = [await open(test, 'one'), await open(test, 'two')];
  const removed = await removeStoredImage(`oci:${test.folder}/layout:one`, {}, test.store);
  assert.deepEqual(removed.names, [`oci:${test.folder}/layout:one`]);
  assert.deepEqual(removed.digests, [one.digest]);
  assert.ok(removed.freed > 0);
  assert.equal(existsSync(pathOf(one)), false);
  assert.equal(existsSync(pathOf(two)), true);
  assert.equal((await listStored(test.store)).length, 1);
});

test('an image that a VM uses is removed by force only, and its files stay', async () => {
  await using test = await makeTestStore();
  await makeLayout(test, 'one');
  const image = await open(test);
  const inUse = [image.digest];
  await assert.rejects(
    removeStoredImage(image.digest, { inUse }, test.store),
    (error) =>
      error instanceof ImageError && error.fault === 'in-use' && /remove the VM first/.test(error.message),
  );
  const removed = await removeStoredImage(image.digest.slice(0, 20), { inUse, force: true }, test.store);
  assert.deepEqual(removed.digests, []);
  assert.equal(existsSync(pathOf(image)), true);
  assert.deepEqual((await listStored(test.store))[0]?.names, []);
  assert.deepEqual((await pruneStored({ inUse }, test.store)).digests, []);
  assert.deepEqual((await pruneStored({}, test.store)).digests, [image.digest]);
  assert.equal(existsSync(pathOf(image)), false);
});

test('a name that is not in the store is reported with the nearest one', async () => {
  await using test = await makeTestStore();
  await makeLayout(test, 'one');
  await open(test);
  await assert.rejects(removeStoredImage('nothing', {}, test.store), /not in the store; nephos images lists/);
  await assert.rejects(removeStoredImage('0123456789', {}, test.store), /not in the store/);
});

test('a prune removes images without names and incomplete files, with all also the others', async () => {
  await using test = await makeTestStore();
  const layout = join(test.folder, 'layout');
  const [one, two] = [await makeTestImage('one'), await makeTestImage('two')];
  await writeLayout(layout, { one });
  await open(test);
  await writeLayout(layout, { one: two });
  const image = await open(test);
  writeFileSync(join(test.store.directory, 'partial', 'left.tar'), 'left by a killed process');
  assert.equal((await listStored(test.store)).length, 2);
  assert.deepEqual((await pruneStored({}, test.store)).digests, [one.manifest.digest]);
  assert.deepEqual(readdirSync(join(test.store.directory, 'partial')), []);
  assert.equal(existsSync(pathOf(image)), true);
  const removed = await pruneStored({ all: true }, test.store);
  assert.deepEqual(removed.digests, [two.manifest.digest]);
  assert.deepEqual(await listStored(test.store), []);
});

test('above its limit a store removes the images that are unused for the longest time', async () => {
  await using test = await makeTestStore({ limit: 12_000 });
  await makeLayout(test, 'one', 'two', 'three');
  const one = await open(test, 'one');
  makeOld(test);
  const two = await open(test, 'two');
  makeOld(test);
  const size = statSync(pathOf(one)).size;
  assert.ok(size * 2 < 12_000 && size * 3 > 12_000, `${size}`);
  // it is used again
  await open(test, 'one');
  const three = await open(test, 'three');
  assert.deepEqual(
    [one, two, three].map((image) => existsSync(pathOf(image))),
    [true, false, true],
  );
});

test('nothing is removed while another process uses the store', async () => {
  await using test = await makeTestStore();
  await makeLayout(test, 'one');
  const image = await open(test);
  {
    using _use = await useStore({ ...test.store, limit: 0 });
    const removed = await removeStoredImage(image.digest, {}, test.store);
    assert.deepEqual(removed.digests, []);
    assert.equal(existsSync(pathOf(image)), true);
    await assert.rejects(pruneStored({}, test.store), /another process pulls an image/);
  }
  assert.deepEqual((await pruneStored({}, test.store)).digests, [image.digest]);
});

test('several processes that open the same image unpack its layer once', async () => {
  await using test = await makeTestStore();
  await makeLayout(test, 'one');
  const script = `
    import { openAnyImage } from ${JSON.stringify(new URL('open-image.js', import.meta.url).href)};
    import { writeSquashfs } from ${JSON.stringify(new URL('layers/write-squashfs.js', import.meta.url).href)};
    let count = 0;
    const context = {
      store: { directory: process.argv[1] },
      writeSquashfs: (...words) => (count++, writeSquashfs(...words)),
    };
    await openAnyImage(context, process.argv[2], { platform: 'linux/amd64' });
    console.log(count);`;
  const args = ['--input-type=module', '-e', script, test.store.directory, `oci:${test.folder}/layout:one`];
  const results = await Promise.all([1, 2, 3].map(() => run(process.execPath, args)));
  assert.deepEqual(results.map(({ stdout }) => stdout.trim()).toSorted(), ['0', '0', '1']);
  assert.deepEqual(readdirSync(join(test.store.directory, 'partial')), []);
});

test('a store that is a link, or that other users can write, is refused', async () => {
  await using test = await makeTestStore();
  await makeLayout(test, 'one');
  const { directory } = test.store;
  mkdirSync(directory, { mode: 0o777 });
  chmodSync(directory, 0o777);
  await assert.rejects(open(test), /mode 0?777.*set NEPHOS_CACHE to a private directory/);
  await rm(directory, { recursive: true });
  mkdirSync(`${directory}2`, { mode: 0o700 });
  symlinkSync(`${directory}2`, directory);
  await assert.rejects(open(test), /is a link/);
});
