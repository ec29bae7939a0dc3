import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { terminate } from './terminate.ts';
import { typedExecute } from '../qmp/commands/index.ts';
import type { Qmp } from '../qmp/connection.ts';

/** Short ones for processes that are to be killed, long ones for those that are not. */
const SHORT = { answer: 50, quit: 100, kill: 10_000 };
const LONG = { answer: 10_000, quit: 20_000, kill: 10_000 };

/** A process that says when it is ready; `script` runs before. */
async function start(script: string) {
  const child = spawn(
    process.execPath,
    ['-e', `${script}; setInterval(() => 0, 1e6); console.log('ready')`],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const ended = once(child, 'close');
  await once(child.stdout, 'data');
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

function endOf({ exitCode, signalCode }: ChildProcess): number | string | null {
  return exitCode ?? signalCode;
}

test('a QEMU that exits after quit gets no signal', async () => {
  const { child, ended } = await start("process.on('SIGUSR1', () => process.exit(7))");
  const asked: string[] = [];
  await terminate({ child, qmp: qmpOf(asked, () => child.kill('SIGUSR1')), ended }, LONG);
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
  child.kill('SIGSTOP');
  const never = qmpOf([], () => new Promise(() => undefined));
  await terminate({ child, qmp: never, ended }, { answer: 50, quit: 60_000, kill: 10_000 });
  assert.equal(endOf(child), 'SIGKILL');
});

test('a QEMU that does not exit after SIGKILL is reported with its process id', async () => {
  // no process group has this number
  const child = { pid: 2 ** 30, kill: () => true, exitCode: null, signalCode: null };
  const ended = new Promise(() => undefined);
  const ending = terminate({ child, qmp: undefined, ended }, { ...SHORT, kill: 10 });
  await assert.rejects(ending, /QEMU \(pid \d+\) has not ended .* after SIGKILL/);
});

test('an exited QEMU and a failed quit are no problem', async () => {
  const { child, ended } = await start('');
  child.kill('SIGKILL');
  await ended;
  const qmp = { execute: () => Promise.reject(new Error('gone')) };
  await terminate({ child, qmp, ended }, LONG);
  assert.equal(endOf(child), 'SIGKILL');
});
