import type { OciImage, OpenImageOptions } from './image.ts';

/*
 * Functions of the store for the command line and the SDK; index.ts exports them. `inUse` is the list of digests that VMs refer
 * to (`imageId` of their records): the store knows no VM.
 */

/** An OCI image in the store. */
export interface StoredImage {
  /** Names that refer to it, e.g. `alpine:3.20` or `oci:/images/app:latest`; none after a tag has been pulled again */
  readonly names: readonly string[];
  /** Digest of the manifest of its platform */
  readonly digest: string;
  /** e.g. `linux/amd64` */
  readonly platform: string;
  /** Digests of its uncompressed layers, from the lowest to the topmost; none where its documents are damaged */
  readonly layers: readonly string[];
  /** Space of all its files in the store, also of those it shares with other images, in `bytes` */
  readonly size: number;
  /** ISO 8601, from its configuration */
  readonly created?: string;
  /** ISO 8601: time of its last pull or import */
  readonly pulled: string;
  /** ISO 8601: time of its last use */
  readonly used: string;
  /** Its files are complete. An incomplete one is fetched again by its next use. */
  readonly isComplete: boolean;
}

/** Lists the images in the store, the last used first. */
export type ListImages = () => Promise<StoredImage[]>;

/** Fetches an image, also where the store has it already. Names of local disk images and directories are refused. */
export type PullImage = (name: string, options?: Omit<OpenImageOptions, 'pull'>) => Promise<OciImage>;

/** Options of {@link RemoveImage}. */
export interface RemoveImageOptions {
  /** Digests of images that VMs use */
  readonly inUse?: readonly string[];
  /** Also removes the name of an image that a VM uses; its files stay */
  readonly force?: boolean;
}

/** Files that were removed. */
export interface RemovedImages {
  /** Names that no longer refer to an image */
  readonly names: readonly string[];
  /** Digests of images without a name, whose files were removed */
  readonly digests: readonly string[];
  /** Space that was freed, in `bytes` */
  readonly freed: number;
}

/**
 * Removes a name (`alpine:3.20`), or with a digest (`sha256:<hex>`, or at least 7 digits of it) all names of an image, and the files
 * that no image needs any more.
 * @throws ImageError `in-use` or `not-found`
 */
export type RemoveImage = (name: string, options?: RemoveImageOptions) => Promise<RemovedImages>;

/** Options of {@link PruneImages}. */
export interface PruneImagesOptions {
  /** Digests of images that VMs use */
  readonly inUse?: readonly string[];
  /** Also removes images with names, where no VM uses them */
  readonly all?: boolean;
}

/** Removes images without a name, incomplete downloads and files that no image needs. */
export type PruneImages = (options?: PruneImagesOptions) => Promise<RemovedImages>;
