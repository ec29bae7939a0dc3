import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { endSpareThread, startSpareThread, takeSpareThread } from './spare-thread.ts';

const folder = mkdtempSync(join(tmpdir(), 'spare-'));
after(() => rmSync(folder, { recursive: true }));

const LOADER = resolve('bin/load-thread.js');

/** Writes a bundle of a thread. @returns its path */
function bundleOf(code: string): string {
  const path = join(folder, 'bundle.cjs');
  writeFileSync(path, `const { parentPort } = require('node:worker_threads');\n${code}`);
  return path;
}

test('a spare thread loads a bundle, which gets its options as the next message', async () => {
  startSpareThread(LOADER);
  const path = bundleOf(`parentPort.once('message', ({ number }) => parentPort.postMessage(number + 1));`);
  const thread = takeSpareThread(path);
  assert.ok(thread);
  // at once: the thread has not begun to run; it has no origin, unlike a window
  // oxlint-disable-next-line unicorn/require-post-message-target-origin
  thread.postMessage({ number: 41 });
  assert.deepEqual(await once(thread, 'message'), [42]);
  await once(thread, 'exit');
});

test('a spare thread is taken once', async () => {
  startSpareThread(LOADER);
  const thread = takeSpareThread(bundleOf(''));
  assert.ok(thread);
  assert.equal(takeSpareThread(bundleOf('')), undefined);
  await once(thread, 'exit');
});

test('a spare thread that was ended is not taken', async () => {
  startSpareThread(LOADER);
  await endSpareThread();
  assert.equal(takeSpareThread(bundleOf('')), undefined);
});

test('the failure of a bundle is an error of the thread that was taken', async () => {
  startSpareThread(LOADER);
  const thread = takeSpareThread(join(folder, 'none.cjs'));
  assert.ok(thread);
  const [error] = await once(thread, 'error');
  assert.ok(error instanceof Error && error.message.includes('none.cjs'));
});
