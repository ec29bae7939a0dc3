import type { RuleContext } from '../common/rules.ts';
import { PMEM_SIZE, type PmemConfig } from './config.ts';

/** Checks the size of a pmem device. */
export function checkPmem({ size }: PmemConfig, { place, report }: RuleContext): void {
  const { minimum: least, multipleOf: page } = PMEM_SIZE;
  if (size === undefined || (size >= least && size % page === 0)) return;
  report(`${place}.size`, `must be a multiple of ${page / 2 ** 20} MiB above 0, got ${size}`);
}
