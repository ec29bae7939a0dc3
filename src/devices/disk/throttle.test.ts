import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planThrottle } from './throttle.ts';

const limitsOf = (config: Parameters<typeof planThrottle>[1]['rate_limiter_config']) =>
  planThrottle('n', { readonly: false, rate_limiter_config: config }).steps.flatMap((step) =>
    step.kind === 'object' ? [{ limits: step.props['limits'], burst: step.burst }] : [],
  );

test('the rate of a bucket is its size per refill_time, and its burst is its size', () => {
  const bandwidth = { size: 4_000_000, refill_time: 2000, one_time_burst: undefined };
  const limits = { 'bps-total': 2_000_000, 'bps-total-max': 4_000_000 };
  assert.deepEqual(limitsOf({ bandwidth, ops: undefined }), [{ limits, burst: undefined }]);
});

test('a bucket that refills in less than a second gets the smallest bucket of QEMU', () => {
  const ops = { size: 10, refill_time: 100, one_time_burst: undefined };
  const limits = { 'iops-total': 100, 'iops-total-max': 0 };
  assert.deepEqual(limitsOf({ bandwidth: undefined, ops }), [{ limits, burst: undefined }]);
});

test('a one-time burst has the limits to itself, then come the lasting ones', () => {
  const bandwidth = { size: 1000, refill_time: 1000, one_time_burst: 5000 };
  const lasting = { 'bps-total': 1000, 'bps-total-max': 1000 };
  assert.deepEqual(limitsOf({ bandwidth, ops: undefined }), [
    {
      limits: { 'bps-total': 1000, 'bps-total-max': 5000 },
      burst: { counts: 'bytes', tokens: 5000, lasting },
    },
  ]);
});

test('without size or refill_time, or beyond counting, nothing is limited', () => {
  const none = { one_time_burst: 7 };
  for (const bucket of [
    { ...none, size: 0, refill_time: 5 },
    { ...none, size: 5, refill_time: 0 },
    { ...none, size: Number.MAX_SAFE_INTEGER, refill_time: 1 },
  ]) {
    const config = { readonly: true, rate_limiter_config: { bandwidth: bucket, ops: bucket } };
    assert.equal(planThrottle('n', config).top, 'n', JSON.stringify(bucket));
  }
});

test('a filter is as read-only as its disk, and the limits of both kinds are stacked', () => {
  const bucket = { size: 1, refill_time: 1000, one_time_burst: undefined };
  const config = { readonly: true, rate_limiter_config: { bandwidth: bucket, ops: bucket } };
  const { steps, top } = planThrottle('n', config);
  const filters = steps.filter((step) => step.kind === 'blockdev').map(({ props }) => props);
  assert.deepEqual(
    filters.map((props) => [props['node-name'], props['file'], props['read-only']]),
    [
      ['n.ops', 'n', true],
      ['n.bandwidth', 'n.ops', true],
    ],
  );
  assert.equal(top, 'n.bandwidth');
});
