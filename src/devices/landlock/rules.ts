import type { RuleContext } from '../common/rules.ts';
import { LANDLOCK_ACCESS, type LandlockConfig } from './config.ts';

const ACCESS = new RegExp(LANDLOCK_ACCESS.pattern);

/** Checks a rule of Landlock, although it has no effect: Cloud Hypervisor refuses the same. */
export function checkLandlockRule({ path, access }: LandlockConfig, { place, report }: RuleContext): void {
  if (path === '') report(`${place}.path`, 'must not be empty');
  if (!ACCESS.test(access)) report(`${place}.access`, `must be r, w or rw, got "${access}"`);
}
