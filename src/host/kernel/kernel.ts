import type { FirmwareForm } from '../../devices/common/machine-plan.ts';
import { createLog } from '../../util/log.ts';
import { reasonOf } from '../../util/errno.ts';
import { asBootFile, openBootFile, type BootFile } from './boot-file.ts';
import { findPayload, KERNEL_HEAD_BYTES, kernelKind, type Payload } from './bzimage.ts';
import { hasPvhNote, readerOf, readerOfDescriptor, readPvhKernel } from './elf.ts';
import { readRange, type OpenedFile } from '../files/file-range.ts';
import { bootFilesFolder } from '../files/cache-folder.ts';
import { firmwareForm, VECTOR_BYTES, type FileEnds } from './firmware-image.ts';
import { UnpackError } from './unpack-error.ts';
import { openUnpacked } from './open-unpacked.ts';
import type { Unpacking } from './unpacking.ts';

const log = createLog('kernel');

/** Most bytes of an unpacked kernel: distributions' kernels have less than a tenth. */
const UNPACKED_BYTES = 512 * 2 ** 20;

/*
 * Kernels, firmware and initramfs archives as QEMU can load them. `kernel.ts` and `initramfs.ts` prepare a file; `bzimage.ts`,
 * `elf.ts` and `firmware-image.ts` recognize formats; `unpack.ts` decompresses; `open-unpacked.ts` uses the cache of unpacked
 * files (`unpacked-cache.ts`, `cache-index.ts`, `cache-eviction.ts`), or memory.
 *
 * Invariants: QEMU gets descriptors, so a file that is replaced after it was checked is never used. A file that cannot be unpacked
 * still boots as it is. Decompressed bytes, processes and time are limited. A cached file is verified by the digests of the packed
 * and of the unpacked bytes.
 */

/** A kernel file that the machine can boot: the file itself, or an unpacked copy of it. */
export interface BootableKernel extends BootFile {
  /** `linux` and `pvh` are ELF files that PVH enters; the others are firmware, by the memory in which QEMU maps it */
  readonly kind: 'linux' | 'pvh' | 'bzimage' | FirmwareForm;
  /** guest address at which PVH enters the kernel; undefined where it is not known */
  readonly entry?: number | undefined;
}

/**
 * Opens a kernel file and unpacks a bzImage once: entered as an ELF through PVH it boots about a quarter faster.
 * A bzImage that cannot be unpacked, or whose kernel does not support PVH, boots as it is. The caller closes it.
 * @throws where the file cannot be read, or is neither a kernel nor firmware: the message names its kind
 */
export async function prepareKernel(path: string, folder = bootFilesFolder()): Promise<BootableKernel> {
  const image = await openBootFile(path);
  try {
    const kind = await kindOf(image);
    const unpacked = kind === 'bzimage' ? await unpackImage(image, folder) : undefined;
    if (unpacked === undefined) return await withEntry({ kind, ...asBootFile(image) });
    await image.file.close();
    return await withEntry({ kind: 'linux', ...unpacked });
  } catch (error) {
    await image.file.close();
    throw error;
  }
}

/** Reads the entry address of an ELF kernel. Closes the kernel where that fails. */
async function withEntry(kernel: BootableKernel): Promise<BootableKernel> {
  if (kernel.kind !== 'linux' && kernel.kind !== 'pvh') return kernel;
  try {
    const { entry } = await readPvhKernel(readerOfDescriptor(kernel.fd));
    return { ...kernel, entry };
  } catch (error) {
    await kernel[Symbol.asyncDispose]();
    throw error;
  }
}

async function kindOf(image: OpenedFile): Promise<BootableKernel['kind']> {
  const kind = kernelKind(await readRange({ ...image, offset: 0, length: KERNEL_HEAD_BYTES }));
  if (kind === 'firmware') return firmwareForm(await readEnds(image));
  if (kind === 'bzimage') return kind;
  const { isLinux } = await readPvhKernel(readerOf(image));
  return isLinux ? 'linux' : 'pvh';
}

async function readEnds(image: OpenedFile): Promise<FileEnds> {
  const { size } = await image.file.stat();
  const tailAt = Math.max(0, size - VECTOR_BYTES);
  return {
    size,
    head: await readRange({ ...image, offset: 0, length: 512 }),
    tail: await readRange({ ...image, offset: tailAt, length: VECTOR_BYTES }),
  };
}

async function unpackImage(image: OpenedFile, folder: string): Promise<BootFile | undefined> {
  const payload = await findPayload(image);
  if (payload === undefined) return undefined;
  try {
    return await openUnpacked(image, unpackingOf(payload), folder);
  } catch (error) {
    if (!(error instanceof UnpackError)) throw error;
    log.warn(`${image.path} is booted as a bzImage, which is slower: ${reasonOf(error)}`);
    return undefined;
  }
}

function unpackingOf({ packing, range }: Payload): Unpacking {
  return {
    purpose: 'kernel',
    limit: UNPACKED_BYTES,
    unpack: async function* () {
      const { unpack } = await import('./unpack.ts');
      yield* unpack(packing, range);
    },
    isUsable: (unpacked) => hasPvhNote(readerOf(unpacked)),
  };
}
