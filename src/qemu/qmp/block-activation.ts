import { QemuError } from '../process/qemu-error.ts';
import type { Qmp } from './connection.ts';
import { QmpError } from './qmp-error.ts';

/** First major version of QEMU with `blockdev-set-active`. */
const FIRST_VERSION = 10;

/** Returns whether QEMU can activate a node before the vCPUs start. */
export function canActivateNodes({ version }: Pick<Qmp, 'version'>): boolean {
  return version[0] >= FIRST_VERSION;
}

/**
 * Activates a block node and takes the locks of its files. After the load of a state QEMU activates nodes itself, but reports
 * a failure only when the vCPUs start. QEMU before 10.0 has no command to activate a node earlier.
 * Rejects with QemuError about `part`.
 */
export async function activateNode(qmp: Qmp, node: string, part: string): Promise<void> {
  if (!canActivateNodes(qmp)) return;
  try {
    await qmp.execute('blockdev-set-active', { 'node-name': node, active: true });
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    throw new QemuError(error.reason, part, { cause: error });
  }
}
