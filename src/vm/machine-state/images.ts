import { resolve } from 'node:path';
import type { RestoreOverrides } from '../../api/requests.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { qemuId } from '../../plan/placement.ts';
import { activateNode } from '../../qemu/qmp/block-activation.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { qemuFailure } from '../qemu-failure.ts';
import type { ExpectedImage } from '../devices/disk/expected-image.ts';
import { topNode } from '../devices/disk/top-node.ts';
import type { Machine } from '../machine.ts';
import type { SavedImage } from './description-schema.ts';
import type { MachineDescription } from './machine-description.ts';

/** Returns the images of a machine's disks and pmem devices, with the sizes that the guest sees. */
export async function describeImages({ preparations, qemu, layout }: Machine): Promise<SavedImage[]> {
  const sizes = await diskSizes(qemu.qmp);
  return layout.placements.flatMap(({ id }) => {
    const image = preparations.images().get(id);
    if (image === undefined) return [];
    return [{ id, ...image, path: resolve(image.path), bytes: sizes.get(qemuId(id)) ?? image.bytes }];
  });
}

/** Returns sizes of QEMU's block nodes in `bytes`, by name: a disk may have been resized. */
export async function diskSizes(qmp: Qmp): Promise<ReadonlyMap<string, number>> {
  const nodes = await qmp.execute('query-named-block-nodes', { flat: true });
  return new Map(nodes.map(({ 'node-name': name = '', image }) => [name, image['virtual-size']]));
}

/**
 * Returns the expected images of a machine that continues from the described state, by device id. Descriptions of older versions have
 * no images: then formats are those of the configuration, and sizes are unknown.
 */
export function expectedImages(
  { images }: MachineDescription,
  config: VmConfig,
  overrides?: RestoreOverrides,
): ReadonlyMap<string, ExpectedImage> {
  const named = new Set(
    (overrides?.disks ?? [])
      .filter(({ image_type: type }) => type !== undefined && type !== 'Unknown')
      .map(({ id }) => id),
  );
  const older = (config.disks ?? []).flatMap(({ id, path, image_type: type }) => {
    if (id === undefined || path === undefined || images.some((image) => image.id === id)) return [];
    return [{ id, path, format: type === 'Unknown' ? undefined : type }];
  });
  return new Map(
    [...images, ...older].map((image) => [image.id, { ...image, isNamed: named.has(image.id) }]),
  );
}

/** Locks the images of a machine after its state is loaded. Rejects with ApiError naming the disk. */
export async function activateImages(machine: Machine): Promise<void> {
  for (const placement of machine.layout.placements) {
    // the back-end of a vhost-user disk opens its image
    if (placement.device.usesBlockLayer?.(placement.config) !== true) continue;
    const node = topNode(machine.deviceSteps.get(placement.id));
    await activateNode(machine.qemu.qmp, node, qemuId(placement.id)).catch((error: unknown) => {
      throw qemuFailure(error, [placement], `disk ${placement.id} could not be opened`);
    });
  }
}
