import { open } from 'node:fs/promises';
import { createLog } from '../util/log.ts';
import { reasonOf } from '../util/errno.ts';
import { findPayload, hasPvhNote, KERNEL_HEAD_BYTES, kernelKind, type KernelKind } from './bzimage.ts';
import { bootFilesFolder } from './files.ts';
import { unpackedOf } from './unpacked-cache.ts';

const log = createLog('kernel');

/** A kernel file as the machine can start it. */
export interface BootableKernel {
  readonly kind: KernelKind;
  /** the file that QEMU gets: the given one, or an unpacked copy of it */
  readonly path: string;
}

/**
 * Looks at a kernel file and unpacks a bzImage once: entered as an ELF through PVH it boots about a quarter faster.
 * A bzImage that cannot be unpacked, or whose kernel knows no PVH, still boots as it is.
 * @throws where the file cannot be read, or is an ELF that PVH cannot enter
 */
export async function prepareKernel(path: string, folder = bootFilesFolder()): Promise<BootableKernel> {
  const kind = kernelKind(await readHead(path, KERNEL_HEAD_BYTES));
  if (kind === 'firmware') return { kind, path };
  if (kind === 'elf') {
    // the notes are behind the headers, wherever these say
    if (await hasNote(path)) return { kind, path };
    throw new Error('an ELF without a PVH note cannot be entered (Linux needs CONFIG_PVH=y)');
  }
  try {
    const unpacked = await unpackedOf(path, folder, unpackKernel);
    return unpacked === undefined ? { kind, path } : { kind: 'elf', path: unpacked };
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

async function hasNote(path: string): Promise<boolean> {
  const { readFile } = await import('node:fs/promises');
  return hasPvhNote(await readFile(path));
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
