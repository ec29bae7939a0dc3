import { ApiError } from '../../api/errors.ts';
import { disk } from '../../devices/disk.ts';
import { inspectDiskImage } from '../../host/disk-image.ts';
import { prepares } from './prepare.ts';

export const prepareDisk = prepares(disk, async ({ path, readonly }, { id }) => {
  if (path === undefined) throw new Error('has no path');
  const image = await inspectDiskImage(path, readonly);
  if (image.format !== 'raw') {
    throw new ApiError('not-supported', `disk ${id}: ${path}: ${image.format} images are not supported yet`);
  }
  return { facts: image };
});
