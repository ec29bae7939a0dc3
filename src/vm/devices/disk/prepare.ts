import type { VmConfig } from '../../../config/vm-config.ts';
import type { DiskConfig } from '../../../devices/disk/config.ts';
import { disk } from '../../../devices/disk/index.ts';
import { sharedLimits } from '../../../devices/rate-limit-group/plan.ts';
import type { SharedLimits } from '../../../devices/common/throttle-group.ts';
import { detectDiskImage, inspectDiskImage, type Image } from '../../../host/disk/disk-image.ts';
import type { ImageFormat } from '../../../host/disk/image-reader.ts';
import { preallocate } from '../../../host/disk/preallocate.ts';
import { reasonOf } from '../../../util/errno.ts';
import { createLog } from '../../../util/log.ts';
import { checkQueueAffinity } from '../../affinity/check-affinity.ts';
import { checkFormat, checkSize, isFormatNamed, isSameImage, type ExpectedImage } from './expected-image.ts';
import { prepares } from '../prepare.ts';
import { prepareVhostUserDisk } from './prepare-vhost-user.ts';

const log = createLog('disk');

export const prepareDisk = prepares(disk, async (config, context) => {
  if (config.vhost_user) return prepareVhostUserDisk(config, context);
  const { id, expected } = context;
  const { path, readonly, direct } = config;
  if (path === undefined) throw new Error('has no path');
  await checkQueueAffinity(config);
  const shared = groupOf(config, context.vm);
  const image = await inspectDiskImage({
    path,
    readonly,
    direct,
    format: await formatOf(path, config, expected),
    anyBackingFile: config.backing_files === true,
    ioUring: !config.disable_io_uring,
    rawImages: context.rawImages,
  });
  if (expected !== undefined) checkSize(path, image.bytes, expected);
  warnOfDetection(id, image);
  warnOfBuffering(id, image);
  const { format, bytes } = image;
  // the driver of a running guest has read the block sizes of the expected image
  const { geometry } = expected ?? image;
  const prepared = {
    facts: { ...image, geometry, shared },
    config: withFormat(config, image),
    image: { path, format, bytes, geometry },
  };
  if (format !== 'Raw') return prepared;
  if (config.sparse === false && !readonly && image.layers[0]?.isDevice === false)
    await preallocateImage(id, path, context.signal);
  recordRaw(context.rawImages, image.identity);
  warnOfDisguise(`disk ${id}: ${path}`, image.detected);
  return {
    ...prepared,
    release: async () => {
      if (!readonly) warnOfDisguise(`disk ${id}: ${path}`, await detectDiskImage(path));
    },
  };
});

/** Allocates the blocks of an image with `sparse=off`. A failure is logged: the disk works without it. */
async function preallocateImage(id: string, path: string, signal: AbortSignal): Promise<void> {
  try {
    await preallocate(path, signal);
  } catch (error) {
    signal.throwIfAborted();
    log.warn(`disk ${id}: ${path}: sparse=off: its blocks could not be allocated: ${reasonOf(error)}`);
  }
}

/** Returns the limits that a disk shares with its group. The configuration was checked: the group exists. */
function groupOf({ rate_limit_group: id }: DiskConfig, vm: VmConfig): SharedLimits | undefined {
  return id === undefined ? undefined : sharedLimits(vm.rate_limit_groups).get(id);
}

/** Returns the format that an image must have; undefined: the detected one. A restored or received machine keeps its disks' formats. */
async function formatOf(
  path: string,
  { image_type: type }: DiskConfig,
  expected: ExpectedImage | undefined,
): Promise<ImageFormat | undefined> {
  const declared = type === 'Unknown' ? undefined : type;
  if (expected === undefined || isFormatNamed(expected, declared)) return declared;
  if (!isSameImage(path, expected)) checkFormat(path, await detectDiskImage(path), expected);
  return expected.format ?? declared;
}

/**
 * Returns the configuration with the format of the first boot. So the next boot of this VM, and a VM that is created from
 * vm.info, open the image in the same way, whatever the guest writes into it.
 */
function withFormat(config: DiskConfig, { format }: Image): DiskConfig {
  return format === 'DynamicVhd' ? config : { ...config, image_type: format };
}

/** Limit of images in `rawImages`: a VM has far fewer disks. */
const RAW_IMAGES_MAX = 1024;

function recordRaw(rawImages: Set<string>, identity: string): void {
  rawImages.delete(identity);
  rawImages.add(identity);
  const [oldest = ''] = rawImages;
  if (rawImages.size > RAW_IMAGES_MAX) rawImages.delete(oldest);
}

function warnOfDetection(id: string, { guessed }: Image): void {
  for (const { path, format } of guessed) {
    const remedy =
      format === 'DynamicVhd'
        ? 'convert it to qcow2 to declare its format'
        : `declare image_type=${format.toLowerCase()}, or record the format of a backing file with qemu-img rebase -u -F`;
    log.warn(
      `disk ${id}: ${path}: format ${format} was detected from bytes that a guest may have written: ${remedy}`,
    );
  }
}

function warnOfBuffering(id: string, { layers }: Image): void {
  for (const { path, isBuffered } of layers) {
    if (isBuffered !== true) continue;
    const reason = 'it ends within a sector of the host’s disk';
    log.warn(`disk ${id}: ${path}: direct=on: ${reason}, and is opened through the page cache`);
  }
}

function warnOfDisguise(what: string, detected: string): void {
  if (detected === 'Raw') return;
  log.warn(`${what}: raw, but looks like ${detected} now: a new VM needs image_type=Raw`);
}
