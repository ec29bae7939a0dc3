import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { OciImage } from '../image.ts';
import { ImageError, type ImageFault } from '../image-error.ts';
import { tarOf, type TestEntry } from '../layers/test-archive.ts';
import { openAnyImage } from '../open-image.ts';
import {
  blobPath,
  makeTestImage,
  makeTestStore,
  writeLayout,
  type TestImage,
  type TestStore,
} from '../test-image.ts';

async function open({ context }: TestStore, name: string): Promise<OciImage> {
  const image = await openAnyImage(context, name, { platform: 'linux/amd64' });
  assert.equal(image.kind, 'oci');
  return image;
}

async function fails(work: Promise<unknown>, fault: ImageFault, message: RegExp): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof ImageError, String(error));
    assert.match(error.message, message);
    assert.equal(error.fault, fault);
    return true;
  });
}

function diffIds(image: OciImage): string[] {
  return image.layers.map(({ diffId }) => diffId);
}

test('a tag of a layout is optional where the layout has one image', async () => {
  await using test = await makeTestStore();
  const layout = join(test.folder, 'a layout, with: colons');
  const [one, two] = [await makeTestImage('one'), await makeTestImage('two')];
  await writeLayout(layout, { '1:a': one });
  assert.equal((await open(test, `oci:${layout}`)).digest, one.manifest.digest);
  assert.equal((await open(test, `oci:${layout}:1:a`)).digest, one.manifest.digest);
  await writeLayout(layout, { '1:a': one, b: two });
  assert.equal((await open(test, `oci:${layout}:b`)).digest, two.manifest.digest);
  await fails(open(test, `oci:${layout}`), 'not-found', /several images; add one of the tags "1:a", "b"/);
  await fails(open(test, `oci:${layout}:3`), 'not-found', /no tag "3"; its layout has "1:a", "b"/);
  await fails(open(test, `oci:${test.folder}/none`), 'not-found', /no such path/);
});

test('a changed layout is read again', async () => {
  await using test = await makeTestStore();
  const layout = join(test.folder, 'layout');
  const [one, two] = [await makeTestImage('one'), await makeTestImage('two')];
  await writeLayout(layout, { tag: one });
  await open(test, `oci:${layout}:tag`);
  await writeLayout(layout, { tag: two });
  assert.equal((await open(test, `oci:${layout}:tag`)).digest, two.manifest.digest);
});

test('hostile: links, FIFOs and missing blobs in a layout are refused', async () => {
  await using test = await makeTestStore();
  const layout = join(test.folder, 'layout');
  const one = await makeTestImage('one');
  await writeLayout(layout, { one });
  const path = blobPath(layout, one.layer.digest);
  rmSync(path);
  await fails(open(test, `oci:${layout}`), 'invalid', /lacks the blob sha256:/);
  symlinkSync('/dev/zero', path);
  await fails(open(test, `oci:${layout}`), 'invalid', /symbolic link.*cp -rL/);
  rmSync(path);
  execFileSync('mkfifo', [path]);
  await fails(open(test, `oci:${layout}`), 'invalid', /is a FIFO/);
  rmSync(path);
  writeFileSync(path, one.layer.bytes);
  rmSync(join(layout, 'blobs', 'sha256'), { recursive: true });
  symlinkSync('/', join(layout, 'blobs', 'sha256'));
  await fails(open(test, `oci:${layout}`), 'invalid', /lacks the blob/);
});

test('hostile: a layout with a broken index, version or size is refused', async () => {
  await using test = await makeTestStore();
  const layout = join(test.folder, 'layout');
  mkdirSync(layout);
  await fails(open(test, `oci:${layout}`), 'invalid', /no OCI image layout: it has no file oci-layout/);
  await writeLayout(layout, { one: await makeTestImage('one') });
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"9"}');
  await fails(open(test, `oci:${layout}`), 'invalid', /file oci-layout is wrong, member imageLayoutVersion/);
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  truncateSync(join(layout, 'index.json'), 5 * 2 ** 20);
  await fails(open(test, `oci:${layout}`), 'too-large', /index\.json has 5242880 bytes/);
  writeFileSync(join(layout, 'index.json'), '{"manifests":[]}');
  await fails(open(test, `oci:${layout}`), 'not-found', /layout has no image/);
});

/** Entries of an archive of docker save, in the old form with a folder for each layer or the new one. */
function savedEntries(image: TestImage, tag: string, form: 'old' | 'new'): TestEntry[] {
  const config = form === 'old' ? 'config.json' : `blobs/sha256/${image.config.digest.slice(7)}`;
  const layer = form === 'old' ? '0123/layer.tar' : `blobs/sha256/${image.diffId.slice(7)}`;
  const manifest = [{ Config: config, RepoTags: [tag], Layers: [layer] }];
  return [
    { name: layer, content: image.archive.toString('latin1') },
    { name: config, content: image.config.bytes.toString() },
    { name: 'manifest.json', content: JSON.stringify(manifest) },
  ];
}

for (const form of ['old', 'new'] as const) {
  test(`an archive of docker save of the ${form} form is opened, plain and compressed`, async () => {
    await using test = await makeTestStore();
    const image = await makeTestImage('one');
    const archive = await tarOf(savedEntries(image, 'team/app:1', form));
    const [path, packed] = [join(test.folder, 'saved: 1.tar'), join(test.folder, 'saved.tar.gz')];
    await writeFile(path, archive);
    await writeFile(packed, gzipSync(archive));
    const opened = await open(test, `docker-archive:${path}`);
    assert.deepEqual(diffIds(opened), [image.diffId]);
    assert.deepEqual(opened.process.env, ['A=b']);
    assert.equal((await open(test, `docker-archive:${path}:docker.io/team/app:1`)).digest, opened.digest);
    assert.equal((await open(test, `docker-archive:${packed}:team/app:1`)).digest, opened.digest);
    await fails(
      open(test, `docker-archive:${path}:team/app:2`),
      'not-found',
      /no "team\/app:2"; its archive has team\/app:1/,
    );
    assert.deepEqual(readdirSync(join(test.store.directory, 'partial')), []);
  });
}

test('an archive that is replaced is read again', async () => {
  await using test = await makeTestStore();
  const path = join(test.folder, 'saved.tar');
  const [one, two] = [await makeTestImage('one'), await makeTestImage('two')];
  await writeFile(path, await tarOf(savedEntries(one, 'app:1', 'new')));
  assert.deepEqual(diffIds(await open(test, `docker-archive:${path}`)), [one.diffId]);
  await writeFile(path, await tarOf(savedEntries(two, 'app:1', 'new')));
  assert.deepEqual(diffIds(await open(test, `docker-archive:${path}`)), [two.diffId]);
});

test('a layout in an archive is opened by both prefixes', async () => {
  await using test = await makeTestStore();
  const layout = join(test.folder, 'layout');
  const image = await makeTestImage('one');
  await writeLayout(layout, { one: image });
  const path = join(test.folder, 'layout.tar');
  execFileSync('tar', ['-cf', path, '-C', layout, '.']);
  for (const prefix of ['oci-archive', 'docker-archive']) {
    assert.equal((await open(test, `${prefix}:${path}`)).digest, image.manifest.digest);
    assert.equal((await open(test, `${prefix}:${path}:one`)).digest, image.manifest.digest);
  }
});

const LINKS: readonly (readonly [string, TestEntry[], RegExp])[] = [
  [
    'out of the archive',
    [{ name: 'layer.tar', type: 'symlink', linkname: '../../../../etc/passwd' }],
    /link out of the archive/,
  ],
  [
    'to an absolute path',
    [{ name: 'layer.tar', type: 'symlink', linkname: '/etc/passwd' }],
    /link out of the archive/,
  ],
  [
    'to each other',
    [
      { name: 'layer.tar', type: 'symlink', linkname: 'other' },
      { name: 'other', type: 'symlink', linkname: 'layer.tar' },
    ],
    /loop of links/,
  ],
];

for (const [title, entries, message] of LINKS) {
  test(`hostile: links of an archive ${title} are refused`, async () => {
    await using test = await makeTestStore();
    const image = await makeTestImage('one');
    const manifest = [{ Config: 'config.json', Layers: ['layer.tar'] }];
    const path = join(test.folder, 'saved.tar');
    await writeFile(
      path,
      await tarOf([
        { name: 'config.json', content: image.config.bytes.toString() },
        ...entries,
        { name: 'manifest.json', content: JSON.stringify(manifest) },
      ]),
    );
    await fails(open(test, `docker-archive:${path}`), 'invalid', message);
  });
}

test('hostile: paths out of the archive, truncated archives and other files are refused', async () => {
  await using test = await makeTestStore();
  const image = await makeTestImage('one');
  const path = join(test.folder, 'saved.tar');
  const manifest = [{ Config: '/etc/passwd', Layers: ['../../etc/passwd'] }];
  await writeFile(path, await tarOf([{ name: 'manifest.json', content: JSON.stringify(manifest) }]));
  await fails(open(test, `docker-archive:${path}`), 'invalid', /lacks the file "\/etc\/passwd"/);
  const archive = await tarOf(savedEntries(image, 'app:1', 'old'));
  await writeFile(path, archive.subarray(0, 1000));
  await fails(open(test, `docker-archive:${path}`), 'invalid', /archive is truncated/);
  await writeFile(path, gzipSync(archive).subarray(0, 200));
  await fails(open(test, `docker-archive:${path}`), 'invalid', /archive is damaged/);
  await writeFile(path, 'text');
  await fails(open(test, `docker-archive:${path}`), 'invalid', /no image: neither manifest\.json/);
});
