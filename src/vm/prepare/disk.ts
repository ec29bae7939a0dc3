import type { DiskConfig } from '../../devices/disk.ts';
import { disk } from '../../devices/disk.ts';
import { detectDiskImage, inspectDiskImage, type Image } from '../../host/disk-image.ts';
import { createLog } from '../../util/log.ts';
import { prepares } from './prepare.ts';
import { prepareVhostUserDisk } from './vhost-user-disk.ts';

const log = createLog('disk');

export const prepareDisk = prepares(disk, async (config, context) => {
  if (config.vhost_user) return prepareVhostUserDisk(config, context);
  const { id } = context;
  const { path, readonly, direct, image_type: told } = config;
  if (path === undefined) throw new Error('has no path');
  const image = await inspectDiskImage({
    path,
    readonly,
    direct,
    format: told === 'Unknown' ? undefined : told,
    anyBase: config.backing_files === true,
    ioUring: !config.disable_io_uring,
  });
  if (image.format !== 'Raw') return { facts: image };
  warnOfDisguise(`disk ${id}: ${path}`, image);
  return {
    facts: image,
    config: settled(config),
    release: async () => {
      if (readonly) return;
      warnOfDisguise(`disk ${id}: ${path}`, { ...image, detected: await detectDiskImage(path) });
    },
  };
});

/**
 * A disk that was raw once stays raw, whatever its guest writes into it: the next boot of this VM, and whoever starts
 * another one from what vm.info says, is told so.
 */
function settled(config: DiskConfig): DiskConfig {
  return { ...config, image_type: 'Raw' };
}

function warnOfDisguise(what: string, { detected, layers: [top] }: Image): void {
  if (detected === 'Raw' || top?.isDevice === true) return;
  log.warn(`${what}: raw, but looks like ${detected} now: a new VM must be told image_type=Raw`);
}
