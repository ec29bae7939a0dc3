import assert from 'node:assert/strict';
import { spawn, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { LAUNCHER } from '../src/qemu/process/launcher.ts';
import { writeLauncher } from './launcher.ts';

let folder = '';

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'launcher-'));
  await writeLauncher(folder);
});

after(() => rmSync(folder, { recursive: true }));

/** Runs a command through the launcher, for a VMM with a PID. */
function launch(pid: number, ...command: readonly string[]): SpawnSyncReturns<string> {
  const shell = ['/bin/sh', '-c', 'exec "$@"', String(pid)];
  const env = { PATH: '/usr/bin:/bin', MARK: 'of the caller' };
  return spawnSync(join(folder, LAUNCHER), [String(pid), ...shell, ...command], { env, encoding: 'utf8' });
}

test('the launcher starts a program with its words and variables', () => {
  const { stdout, status } = launch(process.pid, '/bin/sh', '-c', 'echo "$MARK: $0 $1"; exit 7', 'a b', '');
  assert.equal(stdout, 'of the caller: a b \n');
  assert.equal(status, 7);
});

test('the program ignores SIGXFSZ, and no other signal', () => {
  const { stdout } = launch(process.pid, '/usr/bin/grep', 'SigIgn', '/proc/self/status');
  assert.equal(BigInt(`0x${stdout.split('\t')[1]?.trim()}`), 1n << 24n);
});

test('the launcher starts nothing for a VMM that is not its parent', () => {
  const { stdout, status } = launch(process.pid + 1, '/bin/echo', 'started');
  assert.equal(stdout, '');
  assert.equal(status, 1);
});

test('a program that cannot be started is named by the shell', () => {
  const { stderr, status } = launch(process.pid, join(folder, 'none'));
  assert.match(stderr, /none: not found/);
  assert.equal(status, 127);
});

test('the kernel kills the program when its parent ends', { timeout: 30_000 }, async () => {
  const script = '"$0" $$ /bin/sh -c : $$ /bin/sh -c "echo started; exec sleep 60" & wait';
  const parent = spawn('/bin/sh', ['-c', script, join(folder, LAUNCHER)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(parent.stdout, 'data');
  assert.equal(String(line), 'started\n');
  parent.kill('SIGKILL');
  // the program has the other end of the pipe until it ends
  await once(parent.stdout, 'close');
});
