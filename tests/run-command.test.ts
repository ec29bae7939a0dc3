// nephos run: the command's exit code, streams, user, variables and directories; nothing is left.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeHome, type TestHome } from './support/nephos.ts';
import { makeOciImage } from './support/oci-image.ts';
import { commands } from './support/processes.ts';
import { until } from './support/wait.ts';

const folder = mkdtempSync(join(tmpdir(), 'run, "é" '));
after(() => rmSync(folder, { recursive: true }));
const image = makeOciImage(join(folder, 'image'), {
  Env: ['OF_IMAGE=1'],
  Cmd: ['echo', 'command of the image'],
});

/** Fails if a VM, or a process of one, is left in a home. */
async function assertEmpty({ folder: home }: TestHome): Promise<void> {
  const vms = join(home, 'nephos', 'vms');
  assert.deepEqual(
    readdirSync(vms).filter((name) => name !== '.lock'),
    [],
  );
  await until('no process of a VM is left', () => !commands().some((one) => one.includes(home)));
}

test('the exit code is that of the command, or tells why there is none', async () => {
  await using home = makeHome();
  const run = async (...words: string[]) => (await home.nephos('run', '--rm', ...words)).code;
  for (const code of [0, 1, 42, 255]) assert.equal(await run(image, '--', 'sh', '-c', `exit ${code}`), code);
  assert.equal(await run(image, '--', 'sh', '-c', 'kill -9 $$'), 137);
  assert.equal(await run(image, '--', '/etc/passwd'), 126);
  assert.equal(await run(image, '--', 'no-such-program'), 127);
  assert.equal(await run('--timeout', '1s', image, '--', 'sleep', '100'), 124);
  assert.equal(await run('oci:/nonexistent', '--', 'true'), 125);
  await assertEmpty(home);
});

test('streams have the bytes of the command alone, in both directions', async () => {
  await using home = makeHome();
  const bytes = randomBytes(4 * 2 ** 20);
  const digest = createHash('md5').update(bytes).digest('hex');
  const script = 'md5sum; printf "no newline" >&2; head -c 3000000 /dev/zero | tr "\\0" x';
  const result = await home.nephosWith(bytes, 'run', '-i', '--rm', image, '--', 'sh', '-c', script);
  assert.equal(result.code, 0);
  assert.equal(result.stdout, `${digest}  -\n${'x'.repeat(3_000_000)}`);
  assert.equal(result.stderr, 'no newline');
});

test('without a command that of the image runs; an entry point replaces it', async () => {
  await using home = makeHome();
  assert.equal((await home.nephos('run', '--rm', image)).stdout, 'command of the image\n');
  const replaced = await home.nephos('run', '--rm', '--entrypoint', 'echo', image, '--', 'a', "b'");
  assert.equal(replaced.stdout, "a b'\n");
});

test('user, variables, directory and host name are those of the command line', async () => {
  await using home = makeHome();
  const script = 'id; pwd; hostname; printf "%s|" "$A" "$OF_IMAGE" "$1"';
  const { stdout } = await home.nephos(
    ...['run', '--rm', '-u', 'guest', '-e', 'A=ü "$x" \'', '-w', '/tmp/new "é"', '--hostname', 'host-1'],
    ...[image, '--', 'sh', '-c', script, 'sh', 'a\nb'],
  );
  assert.deepEqual(stdout.split('\n'), [
    'uid=1000(guest) gid=1000(guest) groups=1000(guest),2000(extra)',
    '/tmp/new "é"',
    'host-1',
    'ü "$x" \'|1|a',
    'b|',
  ]);
});

test('volumes share directories of the host, read-only ones unchanged', async () => {
  await using home = makeHome();
  const [shared, fixed] = [join(folder, 'sha"red é,'), join(folder, 'fixed')];
  for (const one of [shared, fixed]) mkdirSync(one);
  writeFileSync(join(shared, 'in'), 'from the host');
  const script = 'cat /a/in; echo from the guest > /a/out; touch /b/x || echo refused';
  const result = await home.nephos(
    ...['run', '--rm', '-v', `${shared}:/a`, '-v', `${fixed}:/b:ro`],
    ...[image, '--', 'sh', '-c', script],
  );
  assert.equal(result.stdout, 'from the hostrefused\n', result.stderr);
  assert.equal(readFileSync(join(shared, 'out'), 'utf8'), 'from the guest\n');
  assert.deepEqual(readdirSync(fixed), []);
  const missing = await home.nephos('run', '-v', `${folder}/none:/x`, image);
  assert.equal(missing.code, 125);
  assert.match(missing.stderr, /none: no such file or directory/);
});

test('a panic of the guest ends the run with 126 and a message', async () => {
  await using home = makeHome();
  const result = await home.nephos(
    'run',
    '--rm',
    image,
    '--',
    'sh',
    '-c',
    'echo c > /proc/sysrq-trigger; sleep 60',
  );
  assert.equal(result.code, 126);
  assert.match(result.stderr, /the guest's kernel panicked: sysrq triggered crash/);
  await assertEmpty(home);
});

test('a signal reaches the command; one during the start ends the run; both leave nothing', async () => {
  await using home = makeHome();
  const script = 'trap "exit 7" TERM; echo ready; while :; do sleep 0.1; done';
  const run = home.start('run', '--rm', image, '--', 'sh', '-c', script);
  await once(run.stdout, 'data');
  run.kill('SIGTERM');
  assert.deepEqual(await once(run, 'exit'), [7, null]);
  const early = home.start('run', '--rm', '--cold', image, '--', 'sleep', '100');
  await until('its VM starts', () => readdirSync(join(home.folder, 'nephos', 'vms')).length > 1);
  early.kill('SIGINT');
  assert.deepEqual(await once(early, 'exit'), [130, null]);
  await assertEmpty(home);
});

test('a run that is killed leaves a crashed VM without processes, which rm removes', async () => {
  await using home = makeHome();
  const run = home.start('run', '--name', 'killed', image, '--', 'sh', '-c', 'echo ready; sleep 1000');
  await once(run.stdout, 'data');
  run.kill('SIGKILL');
  await once(run, 'exit');
  await until('its processes end', () => !commands().some((one) => one.includes(home.folder)));
  const { stdout } = await home.nephos('ps', '-a', '--format', 'json');
  assert.match(stdout, /"crashed"/);
  assert.equal((await home.nephos('rm', 'killed')).code, 0);
  await assertEmpty(home);
});

test('eight runs at once have results of their own and leave nothing', async () => {
  await using home = makeHome();
  const results = await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      home.nephos('run', '--rm', image, '--', 'sh', '-c', `echo ${i}; exit ${i}`),
    ),
  );
  assert.deepEqual(
    results.map(({ code, stdout }) => [code, stdout]),
    results.map((_, i) => [i, `${i}\n`]),
  );
  await assertEmpty(home);
});
