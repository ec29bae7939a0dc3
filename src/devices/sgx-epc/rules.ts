import { duplicates } from '../../util/duplicates.ts';
import { RAM_SIZE } from '../common/limits.ts';
import type { Report, RuleContext } from '../common/rules.ts';
import type { SgxEpcConfig } from './config.ts';

/** Checks the size of a section. */
export function checkSection({ size }: SgxEpcConfig, { place, report }: RuleContext): void {
  const { multipleOf: page } = RAM_SIZE;
  if (size === 0 || size % page !== 0) {
    report(`${place}.size`, `must be a multiple of ${page} above 0, got ${size}`);
  }
}

/** Checks that no two sections have one id. */
export function checkSections(sections: readonly SgxEpcConfig[], report: Report): void {
  for (const { index, value, first } of duplicates(sections.map(({ id }) => id))) {
    report(`sgx_epc[${index}].id`, `"${value}" is taken by sgx_epc[${first}]`);
  }
}
