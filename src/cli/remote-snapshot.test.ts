import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { TempDir } from '../http/test-kit.ts';
import { pagesAt, ramOf, writeSnapshot } from '../snapshot-files/test-snapshots.ts';
import { runRemote } from './remote-run.ts';

const run = (argv: readonly string[]) => runRemote(argv, () => Promise.reject(new Error('not read')));

test('snapshot compose makes a full snapshot without a VMM', async () => {
  using dir = new TempDir();
  const at = (name: string): string => join(dir.path, name);
  const ram = ramOf(4, { 1: 1 });
  const base = writeSnapshot(at('full'), { regions: [{ id: 'ram', ram }] });
  writeSnapshot(at('diff'), { regions: [{ id: 'ram', ram: ramOf(4, { 2: 2 }), pages: [pagesAt(2)] }], base });
  const done = await run(['snapshot', 'compose', at('diff'), at('new'), '--durable']);
  assert.deepEqual(done, { code: 0, stdout: '', stderr: '' });
  assert.ok(
    readFileSync(join(at('new'), 'memory-ranges'))
      .subarray(0, ram.length)
      .equals(ramOf(4, { 1: 1, 2: 2 })),
  );
  const url = await run(['snapshot', 'compose', `file://${at('diff')}`, `file://${at('of "an\' URL')}`]);
  assert.deepEqual(url, { code: 0, stdout: '', stderr: '' });
  assert.ok(existsSync(join(at('of "an\' URL'), 'manifest.json')));
  const { code, stderr: message } = await run(['snapshot', 'compose', at('missing'), at('other')]);
  const reason = `${at('missing')}: cannot be composed: ${at('missing')}: no such file or directory`;
  assert.equal(code, 1);
  assert.equal(message, `Error running command: ${reason}\n`);
  const valued = await run(['snapshot', 'compose', '--durable=false', at('diff'), at('third')]);
  assert.match(valued.stderr, /The option --durable takes no value/);
  assert.ok(!existsSync(at('third')));
  for (const wrong of [[], ['a'], ['a', 'b', 'c'], ['a', 'b', '--force']]) {
    const { code: status, stderr: text } = await run(['snapshot', 'compose', ...wrong]);
    assert.equal(status, 2);
    assert.match(text, /expected snapshot compose \[--durable\] <directory> <new_directory>/);
  }
});

test('snapshot --disks is checked before a request', async () => {
  using dir = new TempDir();
  const socket = join(dir.path, 'api.sock');
  const server = createServer((client) => client.destroy()).listen(socket);
  await once(server, 'listening');
  const snapshot = (...words: string[]) => run(['--api-socket', socket, 'snapshot', ...words, 'file:///x']);
  const mistyped = await snapshot('--live', '--disks', 'cop');
  const alone = await snapshot('--disks', 'copy');
  server.close();
  const unknown = '--disks: "cop" is unknown\n  expected copy; did you mean copy?';
  assert.deepEqual(mistyped, { code: 1, stdout: '', stderr: `Error running command: ${unknown}\n` });
  const needed = '--disks needs --live\n  copy the images of a paused VM';
  assert.deepEqual(alone, { code: 1, stdout: '', stderr: `Error running command: ${needed}\n` });
});
