import type { Report } from '../devices/common/rules.ts';
import type { VmConfig } from './vm-config.ts';

/** Checks that the rate limit groups of disks exist, and that no disk in a group has limits of its own. */
export function checkGroupsOfDisks(
  { rate_limit_groups: groups = [], disks = [] }: VmConfig,
  report: Report,
): void {
  const ids = new Set(groups.map(({ id }) => id));
  for (const [i, disk] of disks.entries()) {
    const { rate_limit_group: group, rate_limiter_config: own, vhost_user: isVhostUser } = disk;
    if (group === undefined) continue;
    const place = `disks[${i}].rate_limit_group`;
    if (!ids.has(group)) report(place, `there is no rate limit group "${group}"`);
    if (own !== undefined) report(place, 'the disk has limits of its own (rate_limiter_config)');
    if (isVhostUser) report(place, 'has no effect with vhost_user: only its back-end can limit it');
  }
}
