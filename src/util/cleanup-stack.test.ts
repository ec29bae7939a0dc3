import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCleanupStack } from './cleanup-stack.ts';

function recorder() {
  const released: string[] = [];
  return {
    released,
    sync: (name: string): Disposable => ({ [Symbol.dispose]: () => void released.push(name) }),
    async: (name: string): AsyncDisposable => ({
      [Symbol.asyncDispose]: async () => void released.push(name),
    }),
  };
}

test('resources of both kinds are released once, the newest first', async () => {
  const { released, sync, async } = recorder();
  const stack = createCleanupStack();
  stack.use(sync('first'));
  stack.use(async('second'));
  await stack[Symbol.asyncDispose]();
  await stack[Symbol.asyncDispose]();
  assert.deepEqual(released, ['second', 'first']);
});

test('a release that fails prevents no other release and hides no error', async () => {
  const { released, sync } = recorder();
  const act = async (): Promise<void> => {
    await using stack = createCleanupStack();
    stack.use(sync('first'));
    stack.use({
      [Symbol.dispose]: () => {
        throw new Error('cannot be closed');
      },
    });
    throw new Error('the start failed');
  };
  await assert.rejects(act(), { message: 'the start failed' });
  assert.deepEqual(released, ['first']);
});

test('resources that were moved to another owner are not released', async () => {
  const { released, sync } = recorder();
  const stack = createCleanupStack();
  stack.use(sync('first'));
  stack.disown();
  stack.use(sync('later'));
  await stack[Symbol.asyncDispose]();
  assert.deepEqual(released, ['later']);
});
