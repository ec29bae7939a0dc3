import { defaultParts } from '../../../run/owner/parts.ts';
import { ownStandBy } from '../../../run/pool/stand-by.ts';

/** Owns a stand-by VM. The process of its pool starts it. */
export async function run(): Promise<number> {
  await ownStandBy(defaultParts());
  return 0;
}
