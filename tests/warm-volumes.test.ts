// Warm starts of images with shared directories: each run has its own, also after a change on the host.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeOciImage } from './support/oci-image.ts';
import { makeRunHome, type Finished } from './support/run-home.ts';

test('runs with shared directories restore one snapshot', async (t) => {
  using home = makeRunHome();
  const image = makeOciImage(join(home.folder, 'image'), {}, {});
  const directory = (name: string, text: string): string => {
    const path = join(home.folder, name);
    mkdirSync(path);
    writeFileSync(join(path, 'file'), text);
    return path;
  };
  const [first, second] = [directory('first', '1'), directory('se, "ö', '2')];
  const run = (volumes: readonly string[], script: string): Promise<Finished> =>
    home.nephos(
      ...['run', '--rm', ...volumes.flatMap((one) => ['-v', one]), image, '--', 'sh', '-c', script],
    );
  const wasWarm = async (volume: string): Promise<boolean> => {
    const kept = await home.nephos('run', '--name', 'kept', '-v', volume, image, '--', 'true');
    assert.equal(kept.code, 0, kept.stderr);
    const { stdout } = await home.nephos('inspect', 'kept');
    assert.equal((await home.nephos('rm', 'kept')).code, 0);
    return /"isWarm": ?true/.test(stdout);
  };

  assert.equal((await run([`${first}:/data`], 'cat /data/file; echo out >/data/out')).stdout, '1');
  assert.equal(readFileSync(join(first, 'out'), 'utf8'), 'out\n');
  const entries = home.warmEntries();
  assert.equal(entries.length, 1);

  await t.test('another directory at another path', async () => {
    const { stdout } = await run(
      [`${second}:/srv/a b`],
      'cat "/srv/a b/file"; ls /data 2>/dev/null || echo none',
    );
    assert.equal(stdout, '2none\n');
    assert.equal(await wasWarm(`${second}:/x`), true);
    assert.deepEqual(home.warmEntries(), entries);
  });

  await t.test('files that were changed, replaced and removed since', async () => {
    writeFileSync(join(first, 'new'), 'a longer text');
    renameSync(join(first, 'new'), join(first, 'file'));
    rmSync(join(first, 'out'));
    assert.equal((await run([`${first}:/data`], 'cat /data/*')).stdout, 'a longer text');
  });

  await t.test('two runs at once, each with its directory', async () => {
    const script = 'cat /data/file; echo $(cat /data/file) >/data/seen';
    await Promise.all([first, second].map((path) => run([`${path}:/data`], script)));
    assert.equal(readFileSync(join(first, 'seen'), 'utf8'), 'a longer text\n');
    assert.equal(readFileSync(join(second, 'seen'), 'utf8'), '2\n');
  });

  await t.test('a read-only directory, and two directories, have snapshots of their own', async () => {
    const script = 'touch /ro/x 2>/dev/null || echo refused; cat /ro/file /rw/file';
    for (let i = 0; i < 2; i++)
      assert.equal(
        (await run([`${second}:/ro:ro`, `${first}:/rw`], script)).stdout,
        'refused\n2a longer text',
      );
    assert.equal(home.warmEntries().length, 2);
  });

  await t.test('a clone has the directory of its source', async () => {
    const words = ['run', '-d', '--name', 'source', '-v', `${second}:/data`, image, '--', 'sleep', '1000'];
    assert.equal((await home.nephos(...words)).code, 0);
    assert.equal((await home.nephos('clone', 'source', 'copy')).code, 0);
    const { stdout } = await home.nephos(
      'exec',
      'copy',
      'sh',
      '-c',
      'cat /data/file; grep -c " /data " /proc/mounts',
    );
    assert.equal(stdout, '21\n');
    assert.equal((await home.nephos('rm', '-f', 'source', 'copy')).code, 0);
  });

  await t.test('a path that is a file is named; the snapshot is kept, and no VM', async () => {
    const { code, stdout, stderr } = await run([`${first}:/bin/busybox`], 'true');
    assert.deepEqual([code, stdout], [125, '']);
    assert.match(stderr, /\/bin\/busybox/);
    assert.deepEqual(home.vms(), []);
    assert.equal(home.warmEntries().length, 2);
    assert.equal(await wasWarm(`${first}:/data`), true);
  });
});
