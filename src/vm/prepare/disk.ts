import type { VmConfig } from '../../config/vm-config.ts';
import type { DiskConfig } from '../../devices/disk.ts';
import { disk } from '../../devices/disk.ts';
import { sharedLimits, type SharedLimits } from '../../devices/rate-limit-group.ts';
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
  const shared = groupOf(config, context.vm);
  const image = await inspectDiskImage({
    path,
    readonly,
    direct,
    format: told === 'Unknown' ? undefined : told,
    anyBase: config.backing_files === true,
    ioUring: !config.disable_io_uring,
  });
  const facts = { ...image, shared };
  if (image.format !== 'Raw') return { facts };
  warnOfDisguise(`disk ${id}: ${path}`, image);
  return {
    facts,
    config: settled(config),
    release: async () => {
      if (readonly) return;
      warnOfDisguise(`disk ${id}: ${path}`, { ...image, detected: await detectDiskImage(path) });
    },
  };
});

/** The limits that a disk shares. The configuration was checked: there is such a group. */
function groupOf({ rate_limit_group: id }: DiskConfig, vm: VmConfig): SharedLimits | undefined {
  return id === undefined ? undefined : sharedLimits(vm.rate_limit_groups).get(id);
}

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
