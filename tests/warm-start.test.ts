// Warm starts of `nephos run`: the snapshot of a booted image, its use, and the identity of each clone.
import assert from 'node:assert/strict';
import { readdirSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeOciImage } from './support/oci-image.ts';
import { makeRunHome, type Finished } from './support/run-home.ts';

/** Prints what must differ between clones, a line each: random bytes, UUID, machine-id, host name; then the time in seconds. */
const IDENTITY = [
  'head -c 16 /dev/urandom | od -An -tx1 | tr -d " \\n"; echo',
  'cat /proc/sys/kernel/random/uuid /etc/machine-id /proc/sys/kernel/hostname',
  'date +%s',
].join('; ');

/** Random bytes, UUID, machine-id, host name. */
const IDENTITY_LINES = 4;

/** Largest difference between the clocks of guest and host, in seconds. The guest prints whole seconds. */
const CLOCK_SECONDS = 2;

test('a second run of an image restores the guest of the first one', async (t) => {
  using home = makeRunHome();
  const image = makeOciImage(
    join(home.folder, 'image'),
    {},
    { '/etc/machine-id': 'a machine of the image\n' },
  );
  const run = (...words: string[]): Promise<Finished> => home.nephos('run', '--rm', ...words);
  const identityOf = async (): Promise<string[]> => {
    const before = Date.now() / 1000;
    const { code, stdout, stderr } = await run(image, '--', 'sh', '-c', IDENTITY);
    const after = Date.now() / 1000;
    const lines = stdout.trim().split('\n');
    assert.equal(code, 0, stderr);
    assert.equal(stderr, '');
    // on a busy host a run takes longer than any limit: its guest's time lies between its start and its end
    const clock = Number(lines.at(-1));
    const isInRun = clock > before - CLOCK_SECONDS && clock < after + CLOCK_SECONDS;
    assert.ok(isInRun, `${clock}, run from ${before} to ${after}`);
    return lines.slice(0, IDENTITY_LINES);
  };

  const first = await identityOf();
  const entries = home.warmEntries();
  await t.test('the first run leaves one snapshot, and no VM', () => {
    assert.equal(entries.length, 1);
    assert.deepEqual(home.vms(), []);
  });
  const folder = join(home.env['NEPHOS_CACHE'] ?? '', 'warm', entries[0] ?? '');
  await t.test('the snapshot belongs to this user alone', () => {
    for (const path of [folder, join(folder, 'snapshot'), join(folder, 'warm.json')])
      assert.equal(statSync(path).mode & 0o077, 0, path);
  });
  await t.test(
    'clones differ in random numbers, machine-id and host name; their clock is right',
    async () => {
      const clones = [first, await identityOf(), await identityOf()];
      for (let line = 0; line < IDENTITY_LINES; line++) {
        const values = clones.map((lines) => lines[line]);
        assert.equal(new Set(values).size, clones.length, values.join(', '));
      }
      for (const [, , machineId] of clones) assert.match(machineId ?? '', /^[0-9a-f]{32}$/);
      assert.deepEqual(home.warmEntries(), entries);
    },
  );
  await t.test('the record of a VM tells that it was restored', async () => {
    assert.equal((await home.nephos('run', '--name', 'kept', image, '--', 'true')).code, 0);
    const { stdout } = await home.nephos('inspect', 'kept');
    assert.match(stdout, /"isWarm": ?true/);
    assert.equal((await home.nephos('rm', 'kept')).code, 0);
  });
  await t.test('exit codes, output and input are those of a cold run', async () => {
    const result = await run(image, '--', 'sh', '-c', 'echo out; echo err >&2; exit 42');
    assert.deepEqual(result, { code: 42, stdout: 'out\n', stderr: 'err\n' });
  });
  await t.test('variables, directory and user of one run are not in the next', async () => {
    const words = ['-e', 'SECRET=1', '-w', '/tmp', '-u', 'guest'];
    const set = await run(...words, image, '--', 'sh', '-c', 'echo $SECRET $PWD $(id -un)');
    assert.equal(set.stdout, '1 /tmp guest\n');
    const unset = await run(image, '--', 'sh', '-c', 'echo "<$SECRET>" $PWD $(id -un)');
    assert.equal(unset.stdout, '<> / root\n');
    assert.deepEqual(home.warmEntries(), entries);
  });
  await t.test('8 runs at once have 8 guests', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => identityOf()));
    assert.equal(new Set(all.map(([random]) => random)).size, 8);
    assert.deepEqual(home.vms(), []);
  });
  await t.test(
    'another shape of the machine has a snapshot of its own; --cold uses and leaves none',
    async () => {
      assert.equal((await run('--memory', '320M', '--cold', image, '--', 'true')).code, 0);
      assert.deepEqual(home.warmEntries(), entries);
      assert.equal((await run('--memory', '320M', image, '--', 'true')).code, 0);
      assert.equal(home.warmEntries().length, 2);
    },
  );
  await t.test('a damaged snapshot is replaced, and the run succeeds', async () => {
    const memory = join(folder, 'snapshot', 'memory-ranges');
    const before = statSync(memory).ino;
    truncateSync(memory, 4096);
    assert.equal((await run(image, '--', 'true')).code, 0);
    assert.notEqual(statSync(memory).ino, before);
    assert.equal((await run(image, '--', 'sh', '-c', 'exit 7')).code, 7);
  });
  await t.test('nothing else is left in the cache', () => {
    const hidden = readdirSync(join(folder, '..')).filter((name) => name.startsWith('.'));
    assert.deepEqual(hidden, []);
  });
});
