import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { BlockGeometry, ImageFacts, ImageLayer } from '../../devices/disk/image.ts';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { resolveLinks } from '../../util/path-calls.ts';
import { openFile } from '../../util/open-file.ts';
import { readGeometry } from './block-geometry.ts';
import { locateBackingFile } from './backing-file.ts';
import { lengthOf } from './file-length.ts';
import { detectUnsupported, unsupportedFormatError } from './unsupported-format.ts';
import { detectFormat, inspectAs } from './image-format.ts';
import { imageReader, SECTOR_BYTES, type ImageFormat, type ImageReader } from './image-reader.ts';
import { hasIoUring } from './io-uring.ts';
import type { Backing } from './qcow2-header.ts';
import { DISK_SERIAL } from '../../devices/disk/config.ts';

/*
 * Disk images as QEMU will open them: their format, their backing files, and what the host's file system allows. `disk-image.ts`
 * inspects a disk with all its layers; `image-format.ts` and the `*-header.ts` read one format each.
 *
 * Invariants: an image is only read here, never changed. Its bytes are hostile: every table of a header is checked against the
 * size of the file before QEMU sees it. The content that a guest wrote never decides which file of the host is opened: an image
 * of a detected format gets no backing file unless the user allows it, and backing files are in the image's folder unless the
 * user allows any.
 */

/** Request to inspect an image. */
export interface ImageRequest {
  readonly path: string;
  readonly readonly: boolean;
  readonly direct: boolean;
  /** undefined: detected */
  readonly format: ImageFormat | undefined;
  /** its backing files may be in any folder, and an image of a detected format may have one */
  readonly anyBackingFile: boolean;
  readonly ioUring: boolean;
  /** identities of images that are raw where no format is declared, whatever is detected */
  readonly rawImages: ReadonlySet<string>;
}

/** An image of a disk, with its backing files. */
export interface Image extends ImageFacts {
  readonly format: ImageFormat;
  /** detected format, whatever was declared */
  readonly detected: string;
  /** device and inode */
  readonly identity: string;
  /** size of the disk, in `bytes` */
  readonly bytes: number;
  /** the image and its backing files whose format was declared nowhere and is not Raw */
  readonly guessed: readonly { readonly path: string; readonly format: ImageFormat }[];
}

/** Most layers of an image: more is a mistake, and each one costs the guest time. */
const LAYERS_MAX = 64;

/**
 * Inspects a disk's image and its backing files without changing them.
 * @throws with the path and the reason where it cannot be used
 */
export async function inspectDiskImage(request: ImageRequest): Promise<Image> {
  const { path, format, anyBackingFile } = request;
  const top = await examine(path, format, request);
  const found = [top];
  const seen = new Set(top.backing === undefined ? [] : [await resolveLinks(path)]);
  for (let above = top; above.backing !== undefined;) {
    const name = above.layer.path;
    if (above.isGuessed && !anyBackingFile) throw guessedBacking(above, above.backing, above === top);
    const file = await locateBackingFile(name, above.backing, anyBackingFile);
    if (seen.has(file.real)) throw new Error(`${name}: is its own backing file by way of ${file.path}`);
    if (found.length === LAYERS_MAX) throw new Error(`${path}: has more than ${LAYERS_MAX} backing files`);
    seen.add(file.real);
    above = await examine(file.path, file.format, { ...request, readonly: true });
    found.push(above);
  }
  const isTorn = found.some((one) => one.isTorn);
  return {
    layers: found.map(({ layer }) => layer),
    serial: top.serial,
    // QEMU 10.0 never returns from an io_uring read that crosses an end of the file within a sector
    aio: request.ioUring && !isTorn && (await hasIoUring()) ? 'io_uring' : 'threads',
    format: top.format,
    detected: top.detected,
    identity: top.identity,
    bytes: top.bytes,
    geometry: top.geometry,
    guessed: found
      .filter(({ isGuessed }) => isGuessed)
      .map(({ layer, format }) => ({ path: layer.path, format })),
  };
}

/** Detects the format of a file: a format, or the name of one that is not supported. */
export function detectDiskImage(path: string): Promise<string> {
  return naming(path, async () => {
    await using file = await openImage(path, constants.O_RDONLY);
    if ((await file.stat()).isBlockDevice()) return 'Raw';
    const image = imageReader(file, await lengthOf(file));
    return (await detectUnsupported(image))?.name ?? (await detectFormat(image));
  });
}

/** Runs `act`; its errors get the path and keep the reason. */
async function naming<T>(path: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
}

interface Found {
  readonly layer: ImageLayer;
  readonly backing: Backing | undefined;
  readonly serial: string;
  readonly format: ImageFormat;
  readonly detected: string;
  readonly identity: string;
  readonly bytes: number;
  readonly geometry: BlockGeometry | undefined;
  readonly isGuessed: boolean;
  readonly isTorn: boolean;
}

type Access = Pick<ImageRequest, 'readonly' | 'direct' | 'rawImages'>;

function examine(path: string, declared: ImageFormat | undefined, access: Access): Promise<Found> {
  const flags = access.readonly ? constants.O_RDONLY : constants.O_RDWR;
  return naming(path, async () => {
    await using file = await openImage(path, flags);
    const found = await inspectFile(file, path, { declared, rawImages: access.rawImages });
    if (!access.direct) return found;
    await checkDirect(path, flags);
    const isBuffered = !access.readonly && (await endsInSector(file));
    return isBuffered ? { ...found, layer: { ...found.layer, isBuffered } } : found;
  });
}

function openImage(path: string, flags: number): Promise<FileHandle> {
  return openFile(path, {
    flags,
    kinds: ['file', 'block'],
    refusal: 'is neither a file nor a block device',
  });
}

/** Declarations of an image's format. */
interface Declared extends Pick<ImageRequest, 'rawImages'> {
  readonly declared: ImageFormat | undefined;
}

async function inspectFile(
  file: FileHandle,
  path: string,
  { declared: requested, rawImages }: Declared,
): Promise<Found> {
  const status = await file.stat({ bigint: true });
  const isDevice = status.isBlockDevice();
  const identity = `${status.dev}:${status.ino}`;
  const declared = requested ?? (rawImages.has(identity) ? 'Raw' : undefined);
  const image = imageReader(file, await lengthOf(file));
  const { format, ...decision } = await decideFormat(path, image, { declared, isDevice });
  const { driver, visible, backing, bytes, isTorn = false } = await inspectAs(format, image);
  return {
    layer: { path, driver, isDevice, ...(visible === undefined ? {} : { visible }) },
    backing,
    serial: `${status.dev}${status.rdev}${status.ino}`.slice(0, DISK_SERIAL.maxLength),
    format,
    ...decision,
    identity,
    bytes,
    geometry: isDevice && driver === 'raw' ? await readGeometry(Number(status.rdev)) : undefined,
    isTorn,
  };
}

interface Origin {
  readonly declared: ImageFormat | undefined;
  readonly isDevice: boolean;
}

async function decideFormat(
  path: string,
  image: ImageReader,
  { declared, isDevice }: Origin,
): Promise<Pick<Found, 'format' | 'detected' | 'isGuessed'>> {
  // a block device has no format of its own: a detected one may be in a guest's data
  const foreign = isDevice ? undefined : await detectUnsupported(image);
  if (foreign !== undefined && declared === undefined) throw unsupportedFormatError(path, foreign);
  if (image.size < SECTOR_BYTES) throw new Error(`is shorter than one sector (${SECTOR_BYTES} bytes)`);
  const detected = isDevice ? 'Raw' : await detectFormat(image);
  const format = declared ?? detected;
  return {
    format,
    detected: foreign?.name ?? detected,
    isGuessed: declared === undefined && format !== 'Raw',
  };
}

async function checkDirect(path: string, flags: number): Promise<void> {
  try {
    await (await openImage(path, flags | constants.O_DIRECT)).close();
  } catch (error) {
    if (codeOf(error) !== 'EINVAL') throw error;
    throw new Error('its file system has no direct I/O (direct=on)', { cause: error });
  }
}

/** Returns whether a file ends within a sector of the device below it: QEMU cannot write such a file without the page cache. */
async function endsInSector(file: FileHandle): Promise<boolean> {
  const status = await file.stat();
  if (!status.isFile()) return false;
  const sector = (await readGeometry(status.dev))?.logical ?? SECTOR_BYTES;
  return status.size % sector !== 0;
}

/** Refuses a backing file of a detected format: a guest that wrote such a header into its raw disk would read a file of the host. */
function guessedBacking({ layer, format }: Found, { name }: Backing, isTop: boolean): Error {
  const remedy = isTop
    ? `declare image_type=${format.toLowerCase()} if no guest could write this header`
    : 'record its format in the image above it (qemu-img rebase -u -F) if no guest could write this header';
  return new Error(
    `${layer.path}: was not declared but detected as ${format}, with the backing file "${name}": ${remedy}, ` +
      `declare image_type=raw if it is a raw disk, or allow any backing file with backing_files=on`,
  );
}
