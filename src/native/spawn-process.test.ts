import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { loadLibc } from './libc.ts';
import { createMemfd } from './memfd.ts';
import { spawnProcess, type SpawnedProcess } from './spawn-process.ts';

await loadLibc();

/** Runs a script of the shell, whose output is returned. */
async function outputOf(
  script: string,
  start: (script: string, descriptors: readonly [number, number, number]) => SpawnedProcess = shell,
): Promise<string> {
  using output = await createMemfd('output');
  const fd = openSync(output.path, 'r+');
  try {
    await start(script, [fd, fd, fd]).exited;
    return readFileSync(output.path, 'utf8');
  } finally {
    closeSync(fd);
  }
}

function shell(script: string, descriptors: readonly number[] = []): SpawnedProcess {
  return spawnProcess({ path: '/bin/sh', args: ['-c', script], env: { WORD: 'ä "b"' }, descriptors });
}

test('an exit code and a signal are reported, also of many processes at once', async () => {
  const codes = [0, 1, 42, 255];
  const all = [...codes.map((code) => shell(`exit ${code}`)), shell('kill -TERM $$'), shell('kill -KILL $$')];
  const found = await Promise.all(all.map(({ exited }) => exited));
  assert.deepEqual(
    found.map(({ code, signal }) => code ?? signal),
    [...codes, 'SIGTERM', 'SIGKILL'],
  );
  assert.deepEqual(all[2]?.status(), { code: 42, signal: null });
});

test('a running process has no status, and has an ID of its own', async () => {
  const process_ = shell('exec sleep 60');
  assert.equal(process_.status(), undefined);
  process.kill(process_.pid, 'SIGINT');
  assert.deepEqual(await process_.exited, { code: null, signal: 'SIGINT' });
});

test('a program that cannot be run is an error with its reason, and leaves nothing', () => {
  const before = readdirSync('/proc/self/fd').length;
  const run = (path: string, args: readonly string[] = []) =>
    spawnProcess({ path, args, env: {}, descriptors: [0, 1, 2] });
  assert.throws(() => run('/bin/no such program'), { code: 'ENOENT' });
  assert.throws(() => run('/etc/passwd'), { code: 'EACCES' });
  assert.throws(() => run('/bin/true', ['a\0b']), /zero byte/);
  assert.throws(() => run('/bin/true', ['x'.repeat(1 << 20)]), { code: 'E2BIG' });
  assert.equal(readdirSync('/proc/self/fd').length, before);
  assert.equal(process.listenerCount('SIGCHLD'), 0);
});

test('words and variables arrive as they are, and no others', async () => {
  const script = 'echo "$WORD"; cat /proc/self/environ | tr "\\0" "\\n" | grep -c .';
  const [word, count] = (await outputOf(script)).split('\n');
  assert.equal(word, 'ä "b"');
  // the shell adds PWD
  assert.ok(Number(count) <= 2, count);
});

test('descriptors get their numbers, also those that have one of the others', async () => {
  using first = await createMemfd('one');
  using second = await createMemfd('two');
  const files = [openSync(first.path, 'r+'), openSync(second.path, 'r+')];
  const opened = readdirSync('/proc/self/fd').length;
  // 0 becomes 2 and 2 becomes 0, and the files the first numbers after them
  const text = await outputOf('readlink /proc/self/fd/3 /proc/self/fd/4; ls /proc/$$/fd', (script, [out]) =>
    shell(script, [2, out, 0, files[1] ?? -1, files[0] ?? -1]),
  );
  const [three = '', four = '', ...numbers] = text.trim().split('\n');
  assert.match(three, /two/);
  assert.match(four, /one/);
  for (const number of ['0', '1', '2', '3', '4']) assert.ok(numbers.includes(number), text);
  assert.equal(readdirSync('/proc/self/fd').length, opened);
  for (const fd of files) closeSync(fd);
});

test('it has a session of its own, and the default action for each signal', async () => {
  const text = await outputOf('cat /proc/$$/stat; exec grep -E "^Sig(Blk|Ign)" /proc/self/status');
  const [stat = '', ...signals] = text.trim().split('\n');
  const [pid, , , , group, session] = stat.split(' ');
  assert.equal(group, pid);
  assert.equal(session, pid);
  const masks = signals.map((line) => Number.parseInt(line.split('\t')[1] ?? '', 16) % 2 ** 31);
  // a shell that waits blocks signals, so grep takes its place; the C library ignores 32 and 33, which it uses itself
  assert.deepEqual(masks, [0, 0]);
});
