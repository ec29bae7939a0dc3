import { ownCommand } from '../../../util/own-program.ts';
import { ownPool } from '../../../run/pool/pool-process.ts';

/** Keeps the VMs of a pool. `nephos pool start` starts it. */
export async function run(): Promise<number> {
  await ownPool([...ownCommand(), 'own-stand-by']);
  return 0;
}
