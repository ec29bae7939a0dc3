import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { test } from 'node:test';
import { terminate } from './terminate.ts';
import { loadLibc } from '../../native/libc.ts';
import { spawnProcess, type SpawnedProcess } from '../../native/spawn-process.ts';
import { openSocketPair } from '../../native/unix-socket.ts';
import { typedExecute } from '../qmp/commands/index.ts';
import type { Qmp } from '../qmp/connection.ts';

await loadLibc();

/** Short ones for processes that are to be killed, long ones for those that are not. */
const SHORT = { answer: 50, quit: 100, kill: 10_000 };
const LONG = { answer: 10_000, quit: 20_000, kill: 10_000 };

/** A process that says when it is ready; `script` runs before. */
async function start(script: string) {
  const [own, other] = openSocketPair();
  const args = ['-e', `${script}; setInterval(() => 0, 1e6); console.log('ready')`];
  const child = spawnProcess({ path: process.execPath, args, env: {}, descriptors: [other, other, 2] });
  closeSync(other);
  const output = new Socket({ fd: own });
  const ended = once(output, 'close').then(() => child.exited);
  await once(output, 'data');
  return { child, ended };
}

/** A control connection that records the commands it receives; `act` runs at each. */
function qmpOf(asked: string[], act: () => unknown = () => undefined): Qmp {
  return {
    version: [10, 0, 0],
    execute: typedExecute(async (command) => {
      asked.push(command);
      await act();
      return {};
    }),
  };
}

function endOf({ status }: SpawnedProcess): number | string | null | undefined {
  return status()?.code ?? status()?.signal;
}

test('a QEMU that exits after quit gets no signal', async () => {
  const { child, ended } = await start("process.on('SIGUSR1', () => process.exit(7))");
  const asked: string[] = [];
  await terminate({ child, qmp: qmpOf(asked, () => process.kill(child.pid, 'SIGUSR1')), ended }, LONG);
  assert.deepEqual(asked, ['quit']);
  assert.equal(endOf(child), 7);
});

test('a QEMU with byKill is stopped before SIGKILL, which writes its caches out', async () => {
  const { child, ended } = await start('');
  const asked: string[] = [];
  await terminate({ child, qmp: qmpOf(asked), ended, byKill: true }, LONG);
  assert.deepEqual(asked, ['stop']);
  assert.equal(endOf(child), 'SIGKILL');
});

test('without a control connection it is killed at once', async () => {
  const { child, ended } = await start("process.on('SIGTERM', () => process.exit(8))");
  await terminate({ child, qmp: undefined, ended }, LONG);
  assert.equal(endOf(child), 'SIGKILL');
});

test('a QEMU that answers quit and does not end is killed', async () => {
  const { child, ended } = await start('');
  const asked: string[] = [];
  await terminate({ child, qmp: qmpOf(asked), ended }, SHORT);
  assert.deepEqual(asked, ['quit']);
  assert.equal(endOf(child), 'SIGKILL');
});

test('a QEMU that is stopped or hangs is killed within the time limit', async () => {
  const { child, ended } = await start('');
  process.kill(child.pid, 'SIGSTOP');
  const never = qmpOf([], () => new Promise(() => undefined));
  await terminate({ child, qmp: never, ended }, { answer: 50, quit: 60_000, kill: 10_000 });
  assert.equal(endOf(child), 'SIGKILL');
});

test('a QEMU that does not exit after SIGKILL is reported with its process id', async () => {
  // no process group has this number
  const child = { pid: 2 ** 30, status: () => undefined };
  const ended = new Promise(() => undefined);
  const ending = terminate({ child, qmp: undefined, ended }, { ...SHORT, kill: 10 });
  await assert.rejects(ending, /QEMU \(pid \d+\) has not ended .* after SIGKILL/);
});

test('an exited QEMU and a failed quit are no problem', async () => {
  const { child, ended } = await start('');
  process.kill(child.pid, 'SIGKILL');
  await ended;
  const qmp = { execute: () => Promise.reject(new Error('gone')) };
  await terminate({ child, qmp, ended }, LONG);
  assert.equal(endOf(child), 'SIGKILL');
});
