import { constants } from 'node:fs';
import { realpath, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { openFile } from '../../util/open-file.ts';
import { ImageError } from '../image-error.ts';

/** The files of an image in a directory or an archive. Names are relative, with `/` between their parts. */
export interface ImageFiles {
  /** Opens a regular file; undefined where there is none. @throws ImageError for anything else at the name */
  readonly open: (name: string) => Promise<FileRange | undefined>;
}

/** A part of an open file that has the content of a file of an image. */
export interface FileRange extends AsyncDisposable {
  readonly file: FileHandle;
  /** `bytes` */
  readonly start: number;
  /** `bytes` */
  readonly size: number;
}

/** Largest part of a file that is read at once, in bytes. */
const PIECE_BYTES = 2 ** 18;

/** Reads a range from an offset on. The buffer of a piece is used again for the next. */
export async function* readRange({ file, start, size }: FileRange, offset: number): AsyncGenerator<Buffer> {
  const piece = Buffer.allocUnsafe(PIECE_BYTES);
  for (let at = offset; at < size;) {
    const { bytesRead } = await file.read(piece, 0, Math.min(piece.length, size - at), start + at);
    if (bytesRead === 0) return;
    yield piece.subarray(0, bytesRead);
    at += bytesRead;
  }
}

/** Reads a whole file of an image. @throws ImageError `too-large` or `invalid` */
export async function readWhole(
  image: string,
  files: ImageFiles,
  name: string,
  limit: number,
): Promise<Buffer | undefined> {
  await using range = await files.open(name);
  if (range === undefined) return undefined;
  if (range.size > limit)
    throw new ImageError(
      'too-large',
      image,
      `its file ${name} has ${range.size} bytes, ${limit} are allowed`,
    );
  const pieces: Buffer[] = [];
  for await (const piece of readRange(range, 0)) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

/** Opens the files of a directory. Links within it are not followed. */
export async function directoryFiles(image: string, directory: string): Promise<ImageFiles> {
  const root = await realpath(directory);
  const open = async (name: string): Promise<FileRange | undefined> => {
    const path = join(root, name);
    try {
      if ((await realpath(path)) !== path) {
        const reason = `its file ${name} is a symbolic link, or in one; copy the layout with cp -rL`;
        throw new ImageError('invalid', image, reason);
      }
      const file = await openFile(path, { flags: constants.O_RDONLY | constants.O_NOFOLLOW });
      const { size } = await file.stat();
      return { file, start: 0, size, [Symbol.asyncDispose]: () => file.close() };
    } catch (cause) {
      if (codeOf(cause) === 'ENOENT') return undefined;
      if (cause instanceof ImageError) throw cause;
      throw new ImageError('invalid', image, `its file ${name} cannot be read: ${reasonOf(cause)}`, {
        cause,
      });
    }
  };
  return { open };
}

/**
 * Splits `PATH[:TAG]` where the path may have colons itself: the longest path that exists.
 * @throws ImageError `not-found`
 */
export async function splitPath(
  image: string,
  text: string,
  isRight: (path: string) => Promise<boolean>,
): Promise<{ readonly path: string; readonly tag: string | undefined }> {
  for (let end = text.length; end > 0; end = text.lastIndexOf(':', end - 1)) {
    const path = text.slice(0, end);
    if (await isRight(path))
      return { path: await realpath(path), tag: end === text.length ? undefined : text.slice(end + 1) };
  }
  throw new ImageError(
    'not-found',
    image,
    `there is no such path; write oci:DIR[:TAG] or docker-archive:FILE[:NAME]`,
  );
}

/** Returns whether a path is a directory. */
export async function isDirectory(path: string): Promise<boolean> {
  return (await statusOf(path))?.isDirectory() ?? false;
}

/** Returns whether a path is a regular file. */
export async function isFile(path: string): Promise<boolean> {
  return (await statusOf(path))?.isFile() ?? false;
}

async function statusOf(path: string): Promise<Awaited<ReturnType<typeof stat>> | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(codeOf(error) ?? '')) return undefined;
    throw error;
  }
}
