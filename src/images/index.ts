import type { OpenImage } from './image.ts';
import { writeSquashfs } from './layers/write-squashfs.ts';
import { openLocalImage } from './open-local-image.ts';
import { openAnyImage, pullAnyImage } from './open-image.ts';
import type { ImageContext } from './open-oci-image.ts';
import type { ListImages, PruneImages, PullImage, RemoveImage } from './store-functions.ts';
import { listStored, pruneStored, removeStoredImage } from './stored-images.ts';

/*
 * Images: the functions for run/, the command line and the SDK. image.ts has their types and the states of an image.
 *
 *   image-name.ts       a text of a user to a path, a local image or a reference (reference.ts)
 *   open-image.ts       finds the way of each kind; open-oci-image.ts: from the store, or by an import
 *   import-image.ts     from a source (image-source.ts) into the store: manifest of the platform, configuration, layers
 *   registry/           source: registries
 *   local/              sources: layouts and archives
 *   layers/             archives of layers to squashfs files; disk images and directories
 *   store/              files of the user's store; stored-images.ts lists and removes them
 *   manifest.ts, digest.ts, platform.ts   documents of the OCI image specification
 *
 * Invariant: a source is hostile. Each byte is bounded before it is read, and its digest verified before it is used.
 */

const context: ImageContext = {
  writeSquashfs,
  // an image in the store needs neither HTTP nor TLS, which take longer to load than the image to open
  openRegistry: async (reference, names, options) => {
    const { openRegistrySource } = await import('./registry/registry-source.ts');
    return openRegistrySource({ reference, ...names, ...options });
  },
  openLocalImage,
};

/** Opens an image by the text of a user. */
export const openImage: OpenImage = (name, options) => openAnyImage(context, name, options);

/** Fetches an image into the store, also where it is there already. */
export const pullImage: PullImage = (name, options) => pullAnyImage(context, name, options);

/** Lists the images in the store. */
export const listImages: ListImages = () => listStored();

/** Removes a name or an image from the store. */
export const removeImage: RemoveImage = (name, options) => removeStoredImage(name, options);

/** Removes files of the store that are not needed. */
export const pruneImages: PruneImages = (options) => pruneStored(options);
