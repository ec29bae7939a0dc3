import { ImageError } from '../../../images/image-error.ts';
import { listImages, removeImage } from '../../../images/index.ts';
import { removeImageCaches } from '../../../run/image-caches.ts';
import { imagesInUse } from '../../../run/vm-directory/images-in-use.ts';
import { didYouMean, nearest } from '../../../util/nearest.ts';
import { VerbError, type CommandLine } from '../verb.ts';
import { forEachVm } from '../vms.ts';

/** Removes images. */
export async function run(line: CommandLine): Promise<number> {
  const inUse = await imagesInUse();
  const code = await forEachVm(line.operands, async (name) => {
    try {
      await removeImage(name, { inUse, force: line.has('force') });
    } catch (error) {
      if (!(error instanceof ImageError) || error.fault !== 'not-found') throw error;
      const names = (await listImages()).flatMap((image) => image.names);
      throw new VerbError(error.message, didYouMean(nearest(name, names)), { cause: error });
    }
  });
  // those of removed images
  await removeImageCaches(await listImages());
  return code;
}
