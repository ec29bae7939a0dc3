import { open, readFile } from 'node:fs/promises';
import { createLog } from '../util/log.ts';
import { reasonOf } from '../util/errno.ts';
import type { FirmwareForm } from '../devices/machine-plan.ts';
import { findPayload, KERNEL_HEAD_BYTES, kernelKind } from './bzimage.ts';
import { hasPvhNote, readPvhKernel } from './elf.ts';
import { bootFilesFolder } from './files.ts';
import { firmwareForm, VECTOR_BYTES, type FileEnds } from './firmware-image.ts';
import { unpackedOf } from './unpacked-cache.ts';

const log = createLog('kernel');

/** A kernel file as the machine can start it. */
export interface BootableKernel {
  /** `linux` and `pvh` are ELF files that PVH enters; the others are firmware, by how QEMU holds it */
  readonly kind: 'linux' | 'pvh' | 'bzimage' | FirmwareForm;
  /** the file that QEMU gets: the given one, or an unpacked copy of it */
  readonly path: string;
}

/**
 * Looks at a kernel file and unpacks a bzImage once: entered as an ELF through PVH it boots about a quarter faster.
 * A bzImage that cannot be unpacked, or whose kernel knows no PVH, still boots as it is.
 * @throws where the file cannot be read, or is neither a kernel nor firmware: the message says what it is
 */
export async function prepareKernel(path: string, folder = bootFilesFolder()): Promise<BootableKernel> {
  const kind = kernelKind(await readHead(path, KERNEL_HEAD_BYTES));
  if (kind === 'firmware') return { kind: firmwareForm(await readEnds(path)), path };
  if (kind === 'elf') {
    // the notes are behind the headers, at an offset that these say
    const { isLinux } = readPvhKernel(await readFile(path));
    return { kind: isLinux ? 'linux' : 'pvh', path };
  }
  try {
    const unpacked = await unpackedOf(path, folder, unpackKernel);
    return unpacked === undefined ? { kind, path } : { kind: 'linux', path: unpacked };
  } catch (error) {
    log.warn(`${path} is booted as a bzImage, which is slower: ${reasonOf(error)}`);
    return { kind, path };
  }
}

async function unpackKernel(image: Buffer): Promise<Buffer | undefined> {
  const payload = findPayload(image);
  if (payload === undefined) return undefined;
  const { unpack } = await import('./unpack.ts');
  const elf = await unpack(payload.packing, payload.bytes);
  return elf !== undefined && hasPvhNote(elf) ? elf : undefined;
}

/** The first bytes of a file, fewer where it is shorter. */
export async function readHead(path: string, bytes: number): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const head = Buffer.alloc(bytes);
    const { bytesRead } = await file.read(head, 0, bytes, 0);
    return head.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function readEnds(path: string): Promise<FileEnds> {
  await using file = await open(path, 'r');
  const { size } = await file.stat();
  const part = async (start: number, length: number): Promise<Buffer> => {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, start);
    return buffer.subarray(0, bytesRead);
  };
  return { size, head: await part(0, 512), tail: await part(Math.max(0, size - VECTOR_BYTES), VECTOR_BYTES) };
}
