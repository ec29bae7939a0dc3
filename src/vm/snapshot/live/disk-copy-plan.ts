import { createHash } from 'node:crypto';
import { ApiError } from '../../../api/errors.ts';
import type { BlockdevStep, DeviceStep, Step } from '../../../devices/common/step.ts';
import type { Placement } from '../../../plan/placement.ts';
import type { CopiedDisk } from '../../../qemu/qmp/disk-copy.ts';
import type { DiskFile } from '../../../snapshot-files/snapshot-folder.ts';
import type { Machine } from '../../machine.ts';

/** A disk that is to be copied into a snapshot. */
export interface PlannedCopy {
  /** id of the disk, as clients know it */
  readonly id: string;
  /** name of the copy in the folder of the snapshot */
  readonly file: DiskFile;
  readonly disk: Omit<CopiedDisk, 'bytes'>;
}

/**
 * Returns the disks of a machine that are copied: those that the guest can write to. Pure.
 * @throws ApiError `invalid-config` naming a device whose data QEMU cannot copy
 */
export function planDiskCopies({
  layout,
  deviceSteps,
}: Pick<Machine, 'layout' | 'deviceSteps'>): PlannedCopy[] {
  return layout.placements.flatMap((placement) => {
    const { device, id } = placement;
    if (device.member === 'pmem') checkPmem(placement);
    return device.member === 'disks' ? planDisk(id, deviceSteps.get(id) ?? []) : [];
  });
}

function planDisk(id: string, steps: readonly Step[]): PlannedCopy[] {
  const device = steps.find((step): step is DeviceStep => step.kind === 'device' && 'drive' in step.props);
  if (device?.props.id === undefined) throw cannotCopy('disk', id, 'a vhost-user back-end has its image');
  const top = String(device.props['drive']);
  const { image, limit } = findImage(steps, top);
  if (image?.['read-only'] === true) return [];
  const format = (['raw', 'qcow2'] as const).find((one) => one === image?.driver);
  if (image === undefined || format === undefined) {
    throw cannotCopy('disk', id, 'its image is neither Raw nor Qcow2');
  }
  const user = limit === undefined ? { device: device.props.id } : { limit };
  const disk = { image: image['node-name'], format, top, user };
  return [{ id, file: fileOfDisk(id, format), disk }];
}

type Node = BlockdevStep['props'];

/** Returns the node of a disk's image, and the filter of a limit on top of it. */
function findImage(
  steps: readonly Step[],
  top: string,
): { readonly image: Node | undefined; readonly limit?: Node } {
  const node = steps.find(
    (step): step is BlockdevStep => step.kind === 'blockdev' && step.props['node-name'] === top,
  );
  if (node?.props.driver !== 'throttle') return { image: node?.props };
  return { limit: node.props, ...findImage(steps, String(node.props['file'])) };
}

function checkPmem({ id, config }: Placement): void {
  const keepsWrites = config !== true && !('discard_writes' in config && config.discard_writes === true);
  if (keepsWrites) throw cannotCopy('pmem', id, 'the guest writes to its file directly');
}

function cannotCopy(what: string, id: string, reason: string): ApiError {
  return new ApiError('invalid-config', `disks: ${what} ${id} cannot be copied: ${reason}`);
}

/** Longest part of an id in the name of a file, in characters: names have at most 255 bytes. */
const MOST_CHARACTERS = 160;

/**
 * Returns the name of a disk's copy: different ids have different names. Characters other than letters, digits, `_`, `.` and `-` are
 * percent-encoded in UTF-8 (RFC 3986, 2.1), and the end of a long id is replaced by a digest.
 */
export function fileOfDisk(id: string, format: CopiedDisk['format']): DiskFile {
  const encoded = id.replace(/[^A-Za-z0-9_.-]/gu, (char) =>
    [...Buffer.from(char)].map((byte) => `%${byte.toString(16).padStart(2, '0').toUpperCase()}`).join(''),
  );
  if (encoded.length <= MOST_CHARACTERS) return `disk-${encoded}.${format}`;
  const digest = createHash('sha256').update(id).digest('hex').slice(0, 32);
  return `disk-${encoded.slice(0, MOST_CHARACTERS)}~${digest}.${format}`;
}
