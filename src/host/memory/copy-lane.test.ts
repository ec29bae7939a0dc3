import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runLane, type LaneSteps } from './copy-lane.ts';
import type { Extent } from './extents.ts';

const CHUNKS: readonly Extent[] = [
  { offset: 0, length: 4 },
  { offset: 8, length: 2 },
];

/** Returns steps that note their order; the first two bytes of each chunk are written, then the others. */
function noting(log: string[]): LaneSteps {
  const chunks = CHUNKS.values();
  return {
    next: () => chunks.next().value,
    read: ({ offset }, bytes, done) => {
      log.push(`read ${offset}+${bytes.length}`);
      setImmediate(done, null);
    },
    select: ({ length }) => [
      { offset: 0, length: 2 },
      ...(length > 2 ? [{ offset: 2, length: length - 2 }] : []),
    ],
    write: (offset, bytes, done) => {
      log.push(`write ${offset}+${bytes.length}`);
      setImmediate(done, null);
    },
    finish: ({ offset }) => log.push(`finish ${offset}`),
  };
}

test('a lane reads a chunk, writes its runs and takes the next one', async () => {
  const log: string[] = [];
  await runLane(Buffer.alloc(4), noting(log));
  assert.deepEqual(log, [
    ...['read 0+4', 'write 0+2', 'write 2+2', 'finish 0'],
    ...['read 8+2', 'write 8+2', 'finish 8'],
  ]);
});

test('a lane ends with the first error, of a call or thrown by a step', async () => {
  const failing: Partial<LaneSteps>[] = [
    { next: () => assert.fail('broken') },
    { read: (_chunk, _bytes, done) => void setImmediate(done, new Error('broken')) },
    { select: () => assert.fail('broken') },
    { write: (_offset, _bytes, done) => void setImmediate(done, new Error('broken')) },
    { write: () => assert.fail('broken') },
    { finish: () => assert.fail('broken') },
  ];
  for (const steps of failing) {
    const log: string[] = [];
    await assert.rejects(runLane(Buffer.alloc(4), { ...noting(log), ...steps }), /broken/);
    assert.ok(!log.includes('read 8+2'), log.join());
  }
});
