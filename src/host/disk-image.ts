import { constants } from 'node:fs';
import { open, realpath, type FileHandle } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { ImageFacts, ImageLayer } from '../devices/image.ts';
import { codeOf, reasonOf } from '../util/errno.ts';
import { detectFormat, lookAs, SECTOR_BYTES, type ImageFormat, type Look } from './image-format.ts';
import { hasIoUring } from './io-uring.ts';
import type { Backing } from './qcow2-header.ts';

/** How an image is to be opened. */
export interface ImageRequest {
  readonly path: string;
  readonly readonly: boolean;
  readonly direct: boolean;
  /** undefined: what the file looks like */
  readonly format: ImageFormat | undefined;
  /** its base may lie anywhere, not only beside it */
  readonly anyBase: boolean;
  readonly ioUring: boolean;
}

/** An image, with what it would be if nobody had said anything. */
export interface Image extends ImageFacts {
  readonly format: ImageFormat;
  readonly detected: ImageFormat;
}

/** An image on a base on a base...: more is a mistake, and each costs the guest time. */
const LAYERS_MAX = 64;
/** Bytes of a serial number that virtio-blk has room for. */
const SERIAL_BYTES = 20;

/**
 * Looks at a disk's image, and at the files that it is based on, without changing them.
 * @throws with the path and the reason where it cannot be used
 */
export async function inspectDiskImage(request: ImageRequest): Promise<Image> {
  const { path, format } = request;
  const top = await examine(path, format, request);
  const layers = [top.layer];
  const seen = new Set(top.backing === undefined ? [] : [await realpath(path)]);
  for (let next = top.backing, above = path; next !== undefined;) {
    const base = await locateBase(above, next, request.anyBase);
    if (seen.has(base.real)) throw new Error(`${above}: is based on itself by way of ${base.path}`);
    if (layers.length === LAYERS_MAX) throw new Error(`${path}: is based on more than ${LAYERS_MAX} files`);
    seen.add(base.real);
    const found = await examine(base.path, base.format, { readonly: true, direct: request.direct });
    layers.push(found.layer);
    [above, next] = [base.path, found.backing];
  }
  const aio = request.ioUring && (await hasIoUring()) ? 'io_uring' : 'threads';
  return { layers, serial: top.serial, aio, format: top.format, detected: top.detected };
}

/** Tells what a file looks like now. */
export function detectDiskImage(path: string): Promise<ImageFormat> {
  return withFile(path, constants.O_RDONLY, async (file) => detectFormat(file, (await file.stat()).size));
}

interface Found {
  readonly layer: ImageLayer;
  readonly backing: Backing | undefined;
  readonly serial: string;
  readonly format: ImageFormat;
  readonly detected: ImageFormat;
}

type Access = Pick<ImageRequest, 'readonly' | 'direct'>;

function examine(path: string, told: ImageFormat | undefined, access: Access): Promise<Found> {
  const flags = access.readonly ? constants.O_RDONLY : constants.O_RDWR;
  const look = async (): Promise<Found> => {
    const found = await withFile(path, flags, (file) => lookAt(file, path, told));
    if (access.direct) await checkDirect(path, flags);
    return found;
  };
  return look().catch((error: unknown) => {
    throw new Error(`${path}: ${reasonOf(error)}`);
  });
}

async function withFile<T>(path: string, flags: number, use: (file: FileHandle) => Promise<T>): Promise<T> {
  // a FIFO would keep us waiting for its other end
  const file = await open(path, flags | constants.O_NONBLOCK);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

async function lookAt(file: FileHandle, path: string, told: ImageFormat | undefined): Promise<Found> {
  const status = await file.stat({ bigint: true });
  const isDevice = status.isBlockDevice();
  const size = Number(status.size);
  if (!isDevice && !status.isFile()) throw new Error('is neither a file nor a block device');
  if (!isDevice && size < SECTOR_BYTES) throw new Error(`is shorter than one sector (${SECTOR_BYTES} bytes)`);
  // a block device is as raw as a file can be: what looks like a format may be what a guest wrote
  const detected = isDevice ? 'Raw' : await detectFormat(file, size);
  const format = told ?? detected;
  const look: Look = await lookAs(format, file, size);
  const layer = {
    path,
    driver: look.driver,
    isDevice,
    ...(look.visible === undefined ? {} : { visible: look.visible }),
  };
  const serial = `${status.dev}${status.rdev}${status.ino}`.slice(0, SERIAL_BYTES);
  return { layer, backing: look.backing, serial, format, detected };
}

async function checkDirect(path: string, flags: number): Promise<void> {
  try {
    await withFile(path, flags | constants.O_DIRECT, async () => undefined);
  } catch (error) {
    if (codeOf(error) !== 'EINVAL') throw error;
    throw new Error('its file system has no direct I/O (direct=on)', { cause: error });
  }
}

interface Base {
  readonly path: string;
  readonly real: string;
  readonly format: ImageFormat | undefined;
}

/** Finds the file that an image is based on, as the engine would, and only where it may lie. */
async function locateBase(image: string, { name, format }: Backing, anywhere: boolean): Promise<Base> {
  if (/^[^/]*:/.test(name)) throw new Error(`${image}: is based on "${name}", which is no file name`);
  const path = resolve(dirname(image), name);
  const real = await realpath(path).catch((error: unknown) => {
    throw new Error(`${image}: is based on ${path}: ${reasonOf(error)}`);
  });
  if (!anywhere && dirname(real) !== dirname(await realpath(image))) {
    throw new Error(
      `${image}: is based on ${path}, which does not lie beside it (backing_files=on allows it)`,
    );
  }
  return { path, real, format: baseFormat(image, format) };
}

/** The engine's names of formats, as images have them. */
const BASE_FORMATS: Readonly<Record<string, ImageFormat | undefined>> = {
  raw: 'Raw',
  qcow2: 'Qcow2',
  vhdx: 'Vhdx',
  // fixed or dynamic: that is looked at
  vpc: undefined,
};

function baseFormat(image: string, name: string | undefined): ImageFormat | undefined {
  if (name === undefined) return undefined;
  if (!Object.hasOwn(BASE_FORMATS, name)) {
    throw new Error(`${image}: is based on a file of the format "${name}", which is not supported`);
  }
  return BASE_FORMATS[name];
}
