import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { terminate } from './terminate.ts';
import type { Qmp } from './qmp.ts';

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

/** A control connection that notes what it is asked, and may do something about it. */
function qmpOf(asked: string[], act: () => void = () => undefined): Qmp {
  return {
    version: [10, 0, 0],
    execute: async (command) => {
      asked.push(command);
      act();
    },
  };
}

function endOf({ exitCode, signalCode }: ChildProcess): number | string | null {
  return exitCode ?? signalCode;
}

test('a QEMU that takes quit gets no signal', async () => {
  const { child, ended } = await start("process.on('SIGUSR1', () => process.exit(7))");
  const asked: string[] = [];
  await terminate({ child, qmp: qmpOf(asked, () => child.kill('SIGUSR1')), ended });
  assert.deepEqual(asked, ['quit']);
  assert.equal(endOf(child), 7);
});

test('without a control connection it is SIGTERM at once', async () => {
  const { child, ended } = await start("process.on('SIGTERM', () => process.exit(8))");
  await terminate({ child, qmp: undefined, ended });
  assert.equal(endOf(child), 8);
});

test('a QEMU that ignores quit and SIGTERM is killed', async () => {
  const { child, ended } = await start("process.on('SIGTERM', () => 0)");
  const asked: string[] = [];
  await terminate({ child, qmp: qmpOf(asked), ended });
  assert.deepEqual(asked, ['quit']);
  assert.equal(endOf(child), 'SIGKILL');
});

test('one that has ended already is no problem, nor is a quit that fails', async () => {
  const { child, ended } = await start('');
  child.kill('SIGKILL');
  await ended;
  const qmp: Qmp = { version: [10, 0, 0], execute: () => Promise.reject(new Error('gone')) };
  await terminate({ child, qmp, ended });
  assert.equal(endOf(child), 'SIGKILL');
});
