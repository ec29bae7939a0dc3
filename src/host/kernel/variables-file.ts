import { constants } from 'node:fs';
import { unlink, type FileHandle } from 'node:fs/promises';
import { loadLibc } from '../../native/libc.ts';
import { callError, EAGAIN, errno } from '../../native/system-error.ts';
import { codeOf } from '../../util/errno.ts';
import { openFile, readBytes } from '../../util/open-file.ts';
import type { BootFile } from './boot-file.ts';

/** An open image of EFI variables. */
export interface EfiVariables extends BootFile {
  /** size of the image */
  readonly bytes: number;
}

/** Size of a block of QEMU's flash device, and of the largest image. */
const BLOCK_BYTES = 4096;
const MAX_BYTES = 8 * 2 ** 20;

/** First content of an image of EFI variables. */
export interface NewVariables {
  /** path of a template; undefined: zeros, which the state of a snapshot replaces */
  readonly template: string | undefined;
  /** size of the image; undefined: that of the template */
  readonly bytes: number | undefined;
}

/** Returns the first content; undefined where neither a template nor a size is known. */
export async function newVariables({ template, bytes }: NewVariables): Promise<Buffer | undefined> {
  const content = template === undefined ? undefined : await readTemplate(template);
  if (content !== undefined && (bytes === undefined || bytes === content.length)) return content;
  return bytes === undefined ? undefined : Buffer.alloc(bytes);
}

/** Reads a template; undefined for a file that is no image of EFI variables. */
async function readTemplate(path: string): Promise<Buffer | undefined> {
  const content = await readBytes(path, { limit: MAX_BYTES });
  return isImageSize(content.length) ? content : undefined;
}

function isImageSize(bytes: number): boolean {
  return bytes > 0 && bytes % BLOCK_BYTES === 0 && bytes <= MAX_BYTES;
}

/**
 * Opens a file of EFI variables for writing. A file that does not exist is created, mode 0600.
 * @throws Error where there is nothing to create it from, or its size is wrong
 */
export async function openVariablesFile(path: string, content: Buffer | undefined): Promise<EfiVariables> {
  const file = await openOrCreate(path, content);
  try {
    const { size } = await file.stat();
    const expected = content?.length ?? size;
    if (size !== expected) throw new Error(`has ${size} bytes, the firmware expects ${expected}`);
    if (!isImageSize(size))
      throw new Error(`has ${size} bytes: an image of EFI variables has a multiple of 4 KiB, 8 MiB at most`);
    await lock(file);
    return { path, fd: file.fd, bytes: size, [Symbol.asyncDispose]: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** flock(2): exclusive, without waiting. */
const EXCLUSIVE = 2 | 4;

/** Locks a file for as long as this process or QEMU has the descriptor open. QEMU locks no file that it gets as a descriptor. */
async function lock({ fd }: FileHandle): Promise<void> {
  const { flock } = await loadLibc();
  if (flock(fd, EXCLUSIVE) === 0) return;
  const number = errno();
  throw number === EAGAIN ? new Error('is in use by another VM') : callError('flock', number);
}

async function openOrCreate(path: string, content: Buffer | undefined): Promise<FileHandle> {
  try {
    return await openFile(path, { flags: constants.O_RDWR });
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    if (content === undefined)
      throw new Error('does not exist, and there is no template beside the firmware to make it from', {
        cause: error,
      });
  }
  const file = await openFile(path, {
    flags: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
    mode: 0o600,
  });
  try {
    await file.writeFile(content);
    return file;
  } catch (error) {
    await file.close();
    await unlink(path);
    throw error;
  }
}
