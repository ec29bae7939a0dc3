import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { PassThrough, Writable } from 'node:stream';
import { test } from 'node:test';
import { openDescriptorSink } from './descriptor-sink.ts';
import { exitWithOutputs } from './finish-output.ts';

const { signal } = new AbortController();

/** Finishes a run whose standard output is a stream. */
async function finish(stdout: Writable, exit: { code: number; reason?: string }) {
  // the run handles the errors of its outputs
  stdout.on('error', () => undefined).write('output');
  return await exitWithOutputs(exit, { stdout, stderr: new PassThrough().resume() }, signal);
}

test('a run whose output cannot be written fails, with the reason', async () => {
  const fd = openSync('/dev/full', 'w');
  try {
    const reason = 'standard output: no space left on device';
    assert.deepEqual(await finish(openDescriptorSink(fd), { code: 0 }), { code: 125, reason });
    assert.deepEqual(await finish(openDescriptorSink(fd), { code: 3 }), { code: 3, reason });
    const late = { code: 124, reason: 'the time limit of 1 s expired' };
    assert.deepEqual(await finish(openDescriptorSink(fd), late), late);
  } finally {
    closeSync(fd);
  }
});

test('a run whose output is written or has no reader keeps its exit', async () => {
  const closed = new Writable({
    write: (_bytes, _encoding, done) => done(Object.assign(new Error('closed'), { code: 'EPIPE' })),
  });
  for (const stdout of [new PassThrough().resume(), closed])
    assert.deepEqual(await finish(stdout, { code: 0 }), { code: 0 });
});
