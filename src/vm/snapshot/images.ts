import { resolve } from 'node:path';
import type { RestoreOverrides } from '../../api/requests.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { disk } from '../../devices/disk.ts';
import { qemuId } from '../../machine/placement.ts';
import { activateNode } from '../../qemu/block-activation.ts';
import { isMessage } from '../../qemu/qmp-stream.ts';
import type { Qmp } from '../../qemu/qmp.ts';
import { engineFailure } from '../engine-failure.ts';
import type { ExpectedImage } from '../prepare/expected-image.ts';
import { topNode } from '../resize/disk.ts';
import type { Run } from '../run.ts';
import type { MachineDescription, SavedImage } from './saved-machine.ts';

/** Images of a machine's disks and pmem devices, with the sizes that its guest knows now. */
export async function describeImages({ preparations, qemu, layout }: Run): Promise<SavedImage[]> {
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
  const all: readonly unknown[] = Array.isArray(nodes) ? nodes : [];
  return new Map(
    all
      .filter(isMessage)
      .flatMap(({ 'node-name': name, image }): [string, number][] =>
        isMessage(image) ? [[String(name), Number(image['virtual-size'])]] : [],
      ),
  );
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
export async function activateImages(run: Run): Promise<void> {
  for (const placement of run.layout.placements) {
    // the image of a vhost-user disk is its back-end's
    if (placement.device !== disk || !run.preparations.images().has(placement.id)) continue;
    const node = topNode(run, placement);
    await activateNode(run.qemu.qmp, node, qemuId(placement.id)).catch((error: unknown) => {
      throw engineFailure(error, [placement], `disk ${placement.id} could not be opened`);
    });
  }
}
