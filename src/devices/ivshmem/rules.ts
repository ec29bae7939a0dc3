import { isPowerOfTwo } from '../../util/power-of-two.ts';
import type { RuleContext } from '../common/rules.ts';
import { SHARED_SIZE, type IvshmemConfig } from './config.ts';

/** Checks the file and the size of shared memory. */
export function checkIvshmem({ path, size }: IvshmemConfig, { place, report }: RuleContext): void {
  if (path === '') report(`${place}.path`, 'must not be empty');
  if (isPowerOfTwo(size) && size >= SHARED_SIZE.minimum) return;
  report(`${place}.size`, `must be a power of two from ${SHARED_SIZE.minimum} on, got ${size}`);
}
