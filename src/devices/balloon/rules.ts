import type { RuleContext } from '../common/rules.ts';
import type { BalloonConfig } from './config.ts';

/** Checks that the balloon leaves RAM to the guest. */
export function checkBalloon({ size }: BalloonConfig, { place, ram, report }: RuleContext): void {
  // without RAM the rules of the memory report a problem
  if (ram === 0 || size < ram) return;
  report(`${place}.size`, `must be less than the RAM (${ram}), got ${size}`);
}
