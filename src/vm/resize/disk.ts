import { ApiError } from '../../api/errors.ts';
import type { VmResizeDisk } from '../../api/requests.ts';
import { disk } from '../../devices/disk/index.ts';
import type { DiskConfig } from '../../devices/disk/config.ts';
import { qemuId, type Placement } from '../../plan/placement.ts';
import { planDevice } from '../../plan/machine-plan.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { reasonOf } from '../../util/errno.ts';
import type { Machine } from '../machine.ts';

/** Disks have whole sectors of this many `bytes`. */
const SECTOR = 512;

/**
 * Gives a disk another size: its image on the host and what the guest sees. Only a raw image can become smaller.
 * Rejects with ApiError, and then the disk is as it was.
 */
export async function resizeDisk(machine: Machine, { id, desired_size: size }: VmResizeDisk): Promise<void> {
  const placement = machine.layout.placements.find((one) => one.device === disk && one.id === id);
  if (placement === undefined) throw new ApiError('unknown-device', `No disk is called "${id}"`);
  // the disk's own struct has checked it
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  checkResizable(id, placement.config as DiskConfig, size);
  const { format, bytes } = await imageOf(machine.qemu.qmp, qemuId(id));
  if (size < bytes && format !== 'raw') {
    throw refusal(id, `a ${format} image cannot become smaller: it has ${bytes} bytes, got ${size}`);
  }
  const node = topNode(machine, placement);
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

/** The node that the guest's device has: a limit on top of the image hands a new size on. */
export function topNode(machine: Machine, placement: Placement): string {
  const steps = planDevice(placement, machine.preparations.facts().get(placement.id));
  const drives = steps.flatMap((step) => (step.kind === 'device' ? [step.props['drive']] : []));
  return String(drives[0]);
}

/** What a node is: the format of the image and the size of the disk in it. */
async function imageOf(qmp: Qmp, node: string): Promise<{ format: string; bytes: number }> {
  const nodes = await qmp.execute('query-named-block-nodes', { flat: true });
  const own = nodes.find((one) => one['node-name'] === node);
  if (own === undefined) throw new ApiError('failed', `QEMU has no block node "${node}"`);
  return { format: own.image.format, bytes: own.image['virtual-size'] };
}

function refusal(id: string, reason: string): ApiError {
  return new ApiError('invalid-config', `disk ${id}: ${reason}`);
}
