import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from '../../schema/decode.ts';
import { RateLimitGroupConfig } from './config.ts';
import { planGroups, sharedLimits } from './plan.ts';

const bucket = { size: 1000, refill_time: 1000 };
const groups = [
  { id: 'a, b', rate_limiter_config: { bandwidth: bucket, ops: bucket } },
  { id: 'c' },
  { id: 'd', rate_limiter_config: { ops: bucket } },
].map((group) => decode(RateLimitGroupConfig, group));

test('a rate limit group is one throttle group of QEMU for each limit, with ids of ours', () => {
  assert.deepEqual(
    planGroups(groups).map(({ props }) => props.id),
    ['shared0.ops-limit', 'shared0.bandwidth-limit', 'shared2.ops-limit'],
  );
});

test('disks find a group by its id, also one without limits', () => {
  const shared = sharedLimits(groups);
  assert.deepEqual([...shared.keys()], ['a, b', 'c', 'd']);
  assert.deepEqual(shared.get('c')?.limits, { bandwidth: undefined, ops: undefined });
});
