import { ApiError } from '../../api/errors.ts';
import type { VmResizeDisk } from '../../api/requests.ts';
import { disk } from '../../devices/disk/index.ts';
import type { DiskConfig } from '../../devices/disk/config.ts';
import { qemuId } from '../../plan/placement.ts';
import { topNode } from '../devices/disk/top-node.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { reasonOf } from '../../util/errno.ts';
import type { Machine } from '../machine.ts';

/** Sector of a disk, in `bytes`. */
const SECTOR = 512;

/**
 * Resizes a disk: its image on the host and the guest's device. Only a raw image can become smaller.
 * Rejects with ApiError; the disk is unchanged then.
 */
export async function resizeDisk(machine: Machine, { id, desired_size: size }: VmResizeDisk): Promise<void> {
  const placement = machine.layout.placements.find((one) => one.device === disk && one.id === id);
  if (placement === undefined) throw new ApiError('unknown-device', `No disk is called "${id}"`);
  // the struct of disks has checked the configuration
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  checkResizable(id, placement.config as DiskConfig, size);
  const { format, bytes } = await imageOf(machine.qemu.qmp, qemuId(id));
  if (size < bytes && format !== 'raw') {
    throw refusal(id, `a ${format} image cannot become smaller: it has ${bytes} bytes, got ${size}`);
  }
  const node = topNode(machine.deviceSteps.get(id));
  await machine.qemu.qmp.execute('block_resize', { 'node-name': node, size }).catch((error: unknown) => {
    throw new ApiError('failed', `disk ${id}: cannot have ${size} bytes: ${reasonOf(error)}`, {
      cause: error,
    });
  });
}

function checkResizable(id: string, config: DiskConfig, size: number): void {
  if (config.vhost_user) throw refusal(id, 'only its vhost-user back-end can resize it');
  if (config.readonly) throw refusal(id, 'is read-only');
  if (size === 0 || size % SECTOR !== 0) {
    throw refusal(id, `desired_size must be a multiple of ${SECTOR} above 0, got ${size}`);
  }
}

/** Returns the format of the image at a node and the size of the disk in it, in `bytes`. */
async function imageOf(qmp: Qmp, node: string): Promise<{ format: string; bytes: number }> {
  const nodes = await qmp.execute('query-named-block-nodes', { flat: true });
  const own = nodes.find((one) => one['node-name'] === node);
  if (own === undefined) throw new ApiError('failed', `QEMU has no block node "${node}"`);
  return { format: own.image.format, bytes: own.image['virtual-size'] };
}

function refusal(id: string, reason: string): ApiError {
  return new ApiError('invalid-config', `disk ${id}: ${reason}`);
}
