import type { ImageProgress } from './image.ts';

/** Archive of a layer in the store: a tar file, plain or compressed. Its own digest is verified, `diffId` is not. */
export interface LayerArchive {
  /** Name of the image, for messages */
  readonly image: string;
  /** Digest that the uncompressed archive must have, `sha256:<hex>` or `sha512:<hex>` */
  readonly diffId: string;
  /** Absolute path of the archive: a regular file in a private directory */
  readonly path: string;
  /** Media type of the manifest, e.g. `application/vnd.oci.image.layer.v1.tar+gzip`; the content decides where both differ */
  readonly mediaType: string;
}

/** Options of {@link WriteSquashfs}. */
export interface WriteSquashfsOptions {
  readonly signal?: AbortSignal;
  /** gets `unpack` with the diff id, and bytes of the archive */
  readonly onProgress?: (progress: ImageProgress) => void;
}

/**
 * Writes a layer as a squashfs file with the whiteouts of overlayfs. `target` is an absolute path in a private directory of the
 * store, where no file exists; the store locks it, and renames it when it is complete.
 * @throws ImageError (`invalid` for a wrong diff id or a broken archive, `too-large` for bombs); the target may be left, incomplete
 */
export type WriteSquashfs = (
  archive: LayerArchive,
  target: string,
  options?: WriteSquashfsOptions,
) => Promise<void>;
