import { QemuError } from '../process/qemu-error.ts';
import type { Qmp } from './connection.ts';
import { QmpError } from './qmp-error.ts';

/** QEMU that has `blockdev-set-active`. */
const VERSION = 10;

/**
 * Opens the block node for its guest and takes the locks of its files. QEMU tries that by itself when a state was loaded, but
 * hides the failure until the vCPUs are started; QEMU before 10.0 cannot be asked earlier.
 * Rejects with QemuError about `part`.
 */
export async function activateNode(qmp: Qmp, node: string, part: string): Promise<void> {
  if (qmp.version[0] < VERSION) return;
  try {
    await qmp.execute('blockdev-set-active', { 'node-name': node, active: true });
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    throw new QemuError(error.reason, part, { cause: error });
  }
}
