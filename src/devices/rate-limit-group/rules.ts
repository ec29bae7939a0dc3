import { duplicates } from '../../util/duplicates.ts';
import type { Report } from '../common/rules.ts';
import type { RateLimitGroupConfig } from './config.ts';

/** Checks that no two groups have one id. */
export function checkGroups(groups: readonly RateLimitGroupConfig[], report: Report): void {
  for (const { index, value, first } of duplicates(groups.map(({ id }) => id))) {
    const place = `rate_limit_groups[${index}].id`;
    report(place, `"${value}" is taken by rate_limit_groups[${first}]`, 'duplicate');
  }
}
