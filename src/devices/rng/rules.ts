import type { RuleContext } from '../common/rules.ts';
import type { RngConfig } from './config.ts';

/** Checks that the entropy device has a source. */
export function checkRng({ src }: RngConfig, { place, report }: RuleContext): void {
  if (src === '') report(`${place}.src`, 'must not be empty');
}
