import { struct, type ValueOf } from '../../schema/field.ts';
import { text } from '../../schema/kinds.ts';
import { rateLimiterConfig } from '../common/rate-limit.ts';

/** A rate limit that several disks share. */
export interface RateLimitGroupConfig extends ValueOf<typeof RateLimitGroupConfig> {}
export const RateLimitGroupConfig = struct({
  name: 'RateLimitGroupConfig',
  doc: 'A rate limit that several disks share: those whose `rate_limit_group` is its id',
  fields: {
    id: text('Name of the group', '<id>'),
    rate_limiter_config: rateLimiterConfig,
  },
});
