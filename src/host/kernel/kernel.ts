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

/** A kernel file as the machine can start it: the given one, or an unpacked copy of it. */
export interface BootableKernel extends BootFile {
  /** `linux` and `pvh` are ELF files that PVH enters; the others are firmware, by how QEMU holds it */
  readonly kind: 'linux' | 'pvh' | 'bzimage' | FirmwareForm;
  /** guest address where PVH enters a kernel, where it is known */
  readonly entry?: number | undefined;
}

/**
 * Opens a kernel file and unpacks a bzImage once: entered as an ELF through PVH it boots about a quarter faster.
 * A bzImage that cannot be unpacked, or whose kernel knows no PVH, still boots as it is. The caller closes it.
 * @throws where the file cannot be read, or is neither a kernel nor firmware: the message says what it is
 */
export async function prepareKernel(path: string, folder = bootFilesFolder()): Promise<BootableKernel> {
  const given = await openBootFile(path);
  try {
    const kind = await kindOf(given);
    const unpacked = kind === 'bzimage' ? await unpackImage(given, folder) : undefined;
    if (unpacked === undefined) return await withEntry({ kind, ...asBootFile(given) });
    await given.file.close();
    return await withEntry({ kind: 'linux', ...unpacked });
  } catch (error) {
    await given.file.close();
    throw error;
  }
}

/** Reads where an ELF kernel is entered. Closes the kernel where that fails. */
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

async function kindOf(given: OpenedFile): Promise<BootableKernel['kind']> {
  const kind = kernelKind(await readRange({ ...given, offset: 0, length: KERNEL_HEAD_BYTES }));
  if (kind === 'firmware') return firmwareForm(await readEnds(given));
  if (kind === 'bzimage') return kind;
  const { isLinux } = await readPvhKernel(readerOf(given));
  return isLinux ? 'linux' : 'pvh';
}

async function readEnds(given: OpenedFile): Promise<FileEnds> {
  const { size } = await given.file.stat();
  const tailAt = Math.max(0, size - VECTOR_BYTES);
  return {
    size,
    head: await readRange({ ...given, offset: 0, length: 512 }),
    tail: await readRange({ ...given, offset: tailAt, length: VECTOR_BYTES }),
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
