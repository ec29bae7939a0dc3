import { ownDetached } from '../../../run/owner/detached.ts';
import { defaultParts } from '../../../run/owner/parts.ts';

/** Owns the VM of a run in the background. `nephos run --detach` starts it. */
export async function run(): Promise<number> {
  await ownDetached(defaultParts());
  return 0;
}
