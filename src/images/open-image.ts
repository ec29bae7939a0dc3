import type { Image, OciImage, OpenImageOptions } from './image.ts';
import { ImageError } from './image-error.ts';
import { parseImageName } from './image-name.ts';
import { openOciImage, type ImageContext } from './open-oci-image.ts';

/** Opens any image: see `OpenImage`. */
export async function openAnyImage(
  context: ImageContext,
  text: string,
  options: OpenImageOptions = {},
): Promise<Image> {
  const name = await parseImageName(text);
  if (name.kind === 'path') return context.openLocalImage(name.path, text);
  return openOciImage(context, name, text, options);
}

/** Fetches an image, also where the store has it: see `PullImage`. */
export async function pullAnyImage(
  context: ImageContext,
  text: string,
  options: Omit<OpenImageOptions, 'pull'> = {},
): Promise<OciImage> {
  const name = await parseImageName(text);
  if (name.kind === 'path')
    throw new ImageError('bad-name', text, 'it is a file or a directory of this host, which is not pulled');
  return openOciImage(context, name, text, { ...options, pull: 'always' });
}
