import { resolve } from 'node:path';
import type { RestoreOverrides } from '../../api/requests.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { qemuId } from '../../plan/placement.ts';
import { activateNode } from '../../qemu/qmp/block-activation.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { engineFailure } from '../qemu-failure.ts';
import type { ExpectedImage } from '../devices/disk/expected-image.ts';
import { topNode } from '../resize/disk.ts';
import type { Machine } from '../machine.ts';
import type { MachineDescription, SavedImage } from './machine-description.ts';

/** Images of a machine's disks and pmem devices, with the sizes that its guest knows now. */
export async function describeImages({ preparations, qemu, layout }: Machine): Promise<SavedImage[]> {
  const sizes = await diskSizes(qemu.qmp);
  return layout.placements.flatMap(({ id }) => {
    const image = preparations.images().get(id);
    if (image === undefined) return [];
    return [{ id, ...image, path: resolve(image.path), bytes: sizes.get(qemuId(id)) ?? image.bytes }];
  });
}

/** Sizes of QEMU's block nodes in `bytes`, by name: a disk may have been resized. */
async function diskSizes(qmp: Qmp): Promise<ReadonlyMap<string, number>> {
  const nodes = await qmp.execute('query-named-block-nodes', { flat: true });
  return new Map(nodes.map(({ 'node-name': name = '', image }) => [name, image['virtual-size']]));
}

/**
 * Images that a machine must have that takes the state of another, by device id. An older snapshot tells the formats in its
 * configuration only, and no sizes.
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

/** Takes the locks of the images of a machine whose state was loaded. Rejects with ApiError naming the disk. */
export async function activateImages(machine: Machine): Promise<void> {
  for (const placement of machine.layout.placements) {
    // the image of a vhost-user disk is its back-end's
    if (placement.device.usesBlockLayer?.(placement.config) !== true) continue;
    const node = topNode(machine, placement);
    await activateNode(machine.qemu.qmp, node, qemuId(placement.id)).catch((error: unknown) => {
      throw engineFailure(error, [placement], `disk ${placement.id} could not be opened`);
    });
  }
}
