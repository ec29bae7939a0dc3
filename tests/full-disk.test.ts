// nephos run on a full disk: the error names the path, and nothing is left half-made.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { cacheFolder } from '../src/host/files/cache-folder.ts';
import { makeHome, type TestHome } from './support/nephos.ts';
import { makeOciImage } from './support/oci-image.ts';

const MIB = 2 ** 20;

/** A small file system in RAM. */
function mountSmall(
  mib: number,
): Disposable & { readonly path: string; readonly fill: (left: number) => void; readonly empty: () => void } {
  assert.equal(process.getuid?.(), 0, 'this test needs root: it mounts a tmpfs');
  const path = mkdtempSync(join(tmpdir(), 'nephos-small-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mib}M,mode=0700`, 'tmpfs', path]);
  return {
    path,
    /** Leaves a number of free bytes. */
    fill: (left) => {
      const filler = join(path, 'filler');
      writeFileSync(filler, '');
      // A VM may write to the file system after the count: then the call fails and changes nothing.
      for (let attempt = 1; ; attempt++) {
        const { bavail, bsize } = statfsSync(path);
        if (bavail * bsize <= left) return;
        const { status, stderr } = spawnSync('fallocate', ['-l', String(bavail * bsize - left), filler]);
        if (status === 0) return;
        assert.ok(attempt < 100, String(stderr));
      }
    },
    empty: () => rmSync(join(path, 'filler')),
    [Symbol.dispose]: () => {
      execFileSync('umount', [path]);
      rmSync(path, { recursive: true });
    },
  };
}

test('a full disk for VM directories fails a run with the path, and leaves no VM', async () => {
  using small = mountSmall(8);
  await using home = makeHome();
  const state = join(small.path, 'state');
  home.env['XDG_STATE_HOME'] = state;
  mkdirSync(join(state, 'nephos', 'vms'), { recursive: true, mode: 0o700 });
  const image = join(home.folder, 'disk.raw');
  writeFileSync(image, Buffer.alloc(MIB));
  for (const left of [0, 16 * 1024, 128 * 1024]) {
    small.fill(left);
    const { code, stdout, stderr } = await home.nephos('run', '--rm', '--cold', image, '--', 'true');
    assert.deepEqual([code, stdout], [125, ''], `${left}: ${stderr}`);
    assert.ok(stderr.includes(state) && /no space left on device/.test(stderr), stderr);
    const left_over = readdirSync(join(state, 'nephos', 'vms')).filter((name) => name !== '.lock');
    assert.deepEqual(left_over, [], stderr);
    small.empty();
  }
});

/** Makes a cache with the guest tools of this host in a small file system. */
function makeSmallCache(home: TestHome, folder: string): string {
  const cache = join(folder, 'cache');
  cpSync(join(cacheFolder(), 'guest-tools'), join(cache, 'guest-tools'), { recursive: true });
  home.env['NEPHOS_CACHE'] = cache;
  return cache;
}

/** Returns the files below a folder, but for locks. */
function filesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((one) => !one.isDirectory() && !/lock/.test(one.name))
    .map((one) => join(one.parentPath, one.name));
}

test('a full disk for the cache', async (t) => {
  using small = mountSmall(256);
  await using home = makeHome();
  const cache = makeSmallCache(home, small.path);
  const image = makeOciImage(join(home.folder, 'image'));
  const run = () =>
    home.nephos('run', '--rm', '--memory', '256M', image, '--', 'sh', '-c', 'echo out; exit 3');

  await t.test(
    'fails a run whose layers have no space, with the path; no part of the image is left',
    async () => {
      for (const left of [0, 256 * 1024]) {
        small.fill(left);
        const { code, stdout, stderr } = await run();
        assert.deepEqual([code, stdout], [125, ''], stderr);
        assert.match(stderr, /^nephos: .*(?:space|disk is full)/);
        assert.ok(stderr.includes(cache), stderr);
        assert.deepEqual(filesBelow(join(cache, 'images')), []);
        small.empty();
      }
    },
  );
  await t.test('costs a run its warm snapshot only, of which no part is left', async () => {
    const first = await home.nephos('run', '--rm', '--cold', image, '--', 'true');
    assert.equal(first.code, 0, first.stderr);
    small.fill(16 * MIB);
    assert.deepEqual(await run(), { code: 3, stdout: 'out\n', stderr: '' });
    assert.deepEqual(filesBelow(join(cache, 'warm')), []);
    assert.deepEqual(readdirSync(join(cache, 'warm')), []);
    small.empty();
    assert.equal((await run()).code, 3);
    assert.equal(readdirSync(join(cache, 'warm')).length, 1);
  });
});

test('a run whose log has no space goes on without it', async () => {
  using small = mountSmall(64);
  await using home = makeHome();
  const state = join(small.path, 'state');
  home.env['XDG_STATE_HOME'] = state;
  const image = makeOciImage(join(home.folder, 'image'));
  const script = 'trap "head -c 1000000 /dev/zero; exit 3" USR1; echo started; while :; do sleep 0.1; done';
  const child = home.start('run', '--name', 'full', '--memory', '256M', image, '--', 'sh', '-c', script);
  const [output, errors] = [text(child.stdout), text(child.stderr)];
  await once(child.stdout, 'data');
  small.fill(0);
  child.kill('SIGUSR1');
  assert.deepEqual(await once(child, 'exit'), [3, null]);
  assert.ok((await output).replace('started\n', '') === '\0'.repeat(1_000_000));
  assert.match(
    await errors,
    /^nephos: \S+output\.jsonl: the output is not recorded: no space left on device\n$/m,
  );
  small.empty();
  const log = readFileSync(join(state, 'nephos', 'vms', 'full', 'output.jsonl'), 'utf8');
  assert.ok(log === '' || log.endsWith('}\n'), log.slice(-200));
  assert.equal((await home.nephos('rm', 'full')).code, 0);
});
