import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planFrameLimit } from './frame-limit.ts';

const limit = { one_time_burst: undefined, refill_time: 500 };

test('no bucket, or one that limits nothing, is no limit', () => {
  assert.equal(planFrameLimit(undefined), undefined);
  assert.equal(planFrameLimit({ bandwidth: { ...limit, size: 0 }, ops: undefined }), undefined);
});

test('bytes cost bytes, and a bucket holds the longest frame at least', () => {
  const { backlog, ...planned } =
    planFrameLimit({ bandwidth: { ...limit, size: 1e6 }, ops: undefined }) ?? {};
  assert.deepEqual(planned, { rate: 2e6, burst: 1e6, cost: { least: 0 } });
  assert.ok((backlog ?? 0) > 65_536);
  assert.ok((planFrameLimit({ bandwidth: { ...limit, size: 10 }, ops: undefined })?.burst ?? 0) > 65_536);
});

test('all frames cost the same number of tokens under a limit of operations', () => {
  const many = planFrameLimit({ ops: { ...limit, size: 1000, one_time_burst: 5000 }, bandwidth: undefined });
  assert.deepEqual(
    [many?.rate, many?.burst, many?.cost, many?.first],
    [2000, 1000, 'one', { burst: 5000, frames: 5000, bytes: Infinity }],
  );
  const few = planFrameLimit({
    ops: { size: 1, one_time_burst: undefined, refill_time: 10_000 },
    bandwidth: undefined,
  });
  assert.ok(few !== undefined && few.cost !== 'one');
  assert.equal(Math.round(few.cost.least / few.rate), 10);
  assert.equal(few.burst, few.cost.least);
});

test('with both limits a frame takes the longer time, and the burst is the smaller one', () => {
  const both = planFrameLimit({
    bandwidth: { ...limit, size: 1e6, one_time_burst: 3e6 },
    ops: { ...limit, size: 500 },
  });
  // 2 MB and 1000 frames a second: a frame takes 2000 bytes at least
  assert.deepEqual(
    [both?.rate, both?.burst, both?.cost, both?.first],
    [2e6, 1e6, { least: 2000 }, { burst: 1e6, bytes: 3e6, frames: Infinity }],
  );
});
