/*
 * Images that a VM can run: OCI images from registries, layouts and archives, disk images, and directories.
 *
 * OCI images are kept in a store of the user (`XDG_CACHE_HOME/nephos/images`): blobs by their digest, and each layer as a squashfs file
 * by its diff id. Everything in the store is checked against its digest when it is written, and its size and owner when it is
 * used. The store is bounded.
 *
 * Invariant: an image is never written by a run. Registries, layouts and archives are hostile input.
 */

/** An image that is ready to run: all its files are on this host. */
export type Image = OciImage | DiskImage | DirectoryImage;

/** An OCI image. Its root file system is an overlay of its layers. */
export interface OciImage {
  readonly kind: 'oci';
  /** Name as the user gave it, e.g. `alpine:3.20` */
  readonly name: string;
  /** Digest of the manifest of this platform, `sha256:<hex>` */
  readonly digest: string;
  /** Layers from the lowest to the topmost */
  readonly layers: readonly ImageLayer[];
  readonly process: ImageProcess;
  /** Labels of the image's configuration */
  readonly labels: Readonly<Record<string, string>>;
}

/** A layer as a squashfs file, with the whiteouts of overlayfs. */
export interface ImageLayer {
  /** Digest of the uncompressed archive (`diff_ids` of the image's configuration) */
  readonly diffId: string;
  /** Absolute path of the squashfs file */
  readonly path: string;
  /** The file is a disk whose partitions are this many layers, the lowest first (`src/run/guest-tools/layer-disk.ts`) */
  readonly partitions?: number;
}

/** Process of an image's configuration (OCI image specification, image configuration). */
export interface ImageProcess {
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  /** `NAME=value` */
  readonly env: readonly string[];
  /** `/` if the image has none */
  readonly workingDirectory: string;
  /** `user`, `uid`, `user:group` or `uid:gid`; empty: root */
  readonly user: string;
  /** e.g. `SIGTERM` */
  readonly stopSignal: string;
  /** e.g. `80/tcp` */
  readonly exposedPorts: readonly string[];
}

/** A disk image with an operating system. */
export interface DiskImage {
  readonly kind: 'disk';
  readonly name: string;
  /** Absolute path */
  readonly path: string;
  readonly format: 'Raw' | 'Qcow2' | 'Vhdx' | 'FixedVhd';
}

/** A directory with a root file system. */
export interface DirectoryImage {
  readonly kind: 'directory';
  readonly name: string;
  /** Absolute path */
  readonly path: string;
}

/** Progress of a pull or an unpacking, for a terminal. */
export interface ImageProgress {
  readonly step: 'resolve' | 'download' | 'unpack';
  /** Digest of a blob, or the name of the image */
  readonly subject: string;
  /** `bytes` */
  readonly done: number;
  /** `bytes`, if it is known */
  readonly total?: number;
}

/** Options of {@link OpenImage}. */
export interface OpenImageOptions {
  /** `missing` (default): only if it is not in the store; `always`: ask the registry for a newer one; `never` */
  readonly pull?: 'missing' | 'always' | 'never';
  /** `linux/amd64` or `linux/arm64[/v8]`; that of the host by default */
  readonly platform?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ImageProgress) => void;
  /** Digests of images that VMs use (`imageId` of their records): called before the store removes images above its limit */
  readonly inUse?: () => Promise<readonly string[]>;
}

/**
 * Finds an image by the text of a user: a path of a disk image or a directory (absolute, or starting with `.`, or an existing
 * file), `oci:DIR[:TAG]`, `docker-archive:FILE[:TAG]`, or a reference to a registry.
 * @throws ImageError that names the image, the reason and the remedy
 */
export type OpenImage = (name: string, options?: OpenImageOptions) => Promise<Image>;
