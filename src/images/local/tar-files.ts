import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { open, statfs, unlink, type FileHandle } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { reasonOf } from '../../util/errno.ts';
import { openFile } from '../../util/open-file.ts';
import { ImageError } from '../image-error.ts';
import { openArchive } from '../layers/open-archive.ts';
import { parsePax } from '../layers/pax.ts';
import { BLOCK_BYTES, isZeroBlock, parseHeader, TarError, type TarHeader } from '../layers/tar-header.ts';
import { DOCUMENT_LIMITS } from '../manifest.ts';
import type { FileRange, ImageFiles } from './image-files.ts';

/*
 * The files of an image in a tar archive, at any place: an index of the headers is made first. A compressed archive is decompressed
 * into a file without a name, which is gone when it is closed.
 *
 * Nothing is created with a name of the archive. Links lead to members of the same archive only.
 */

/** A tar archive that is open. */
export interface TarFiles extends ImageFiles, AsyncDisposable {}

/** A member: content in the archive, or a link to another member. */
type Member = { readonly start: number; readonly size: number } | { readonly target: string };

/** Most members of an archive, and most bytes of an extended header. */
const LIMITS = { members: 65_536, extended: 2 ** 20, links: 8 } as const;

/** Space in bytes that a decompressed archive leaves free. */
const RESERVE_BYTES = 256 * 2 ** 20;

/** Opens a tar archive. `folder` gets the decompressed one. @throws ImageError `invalid` or `too-large` */
export async function openTar(
  image: string,
  path: string,
  { folder, signal }: { readonly folder: string; readonly signal?: AbortSignal | undefined },
): Promise<TarFiles> {
  try {
    const file = await openPlain(image, path, { folder, signal });
    try {
      const members = await readMembers(file, signal);
      return {
        open: async (name) => openMember(image, file, members, name),
        [Symbol.asyncDispose]: () => file.close(),
      };
    } catch (error) {
      await file.close();
      throw error;
    }
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof ImageError) throw cause;
    throw new ImageError('invalid', image, `its archive ${reasonOf(cause)}`, { cause });
  }
}

async function openPlain(
  image: string,
  path: string,
  { folder, signal }: { readonly folder: string; readonly signal: AbortSignal | undefined },
): Promise<FileHandle> {
  const file = await openFile(path, { signal });
  try {
    if (await isPlain(file)) return file;
  } catch (error) {
    await file.close();
    throw error;
  }
  await file.close();
  return decompress(image, path, { folder, signal });
}

async function isPlain(file: FileHandle): Promise<boolean> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(BLOCK_BYTES), 0, BLOCK_BYTES, 0);
  try {
    return bytesRead === BLOCK_BYTES && parseHeader(buffer).name !== '';
  } catch (error) {
    if (error instanceof TarError) return false;
    throw error;
  }
}

async function decompress(
  image: string,
  path: string,
  { folder, signal }: { readonly folder: string; readonly signal: AbortSignal | undefined },
): Promise<FileHandle> {
  const temporary = join(folder, `${randomUUID()}.tar`);
  const { O_RDWR, O_CREAT, O_EXCL } = constants;
  const file = await open(temporary, O_RDWR | O_CREAT | O_EXCL, 0o600);
  try {
    await unlink(temporary);
    const { bavail, bsize } = await statfs(folder);
    const limit = Math.min(DOCUMENT_LIMITS.total, bavail * bsize - RESERVE_BYTES);
    let size = 0;
    for await (const piece of openArchive(path, { signal })) {
      size += piece.length;
      if (size > limit)
        throw new ImageError('too-large', image, `its archive has more than ${limit} bytes uncompressed`);
      await file.write(piece);
    }
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Extended headers before a member. */
interface Extension {
  readonly path?: string | undefined;
  readonly target?: string | undefined;
  readonly size?: number | undefined;
}

async function readMembers(file: FileHandle, signal: AbortSignal | undefined): Promise<Map<string, Member>> {
  const { size } = await file.stat();
  const members = new Map<string, Member>();
  let extension: Extension = {};
  for (let at = 0, count = 0; at + BLOCK_BYTES <= size; count++) {
    signal?.throwIfAborted();
    if (count > LIMITS.members) throw new TarError(`has more than ${LIMITS.members} entries`);
    const block = await readAt(file, at, BLOCK_BYTES);
    if (isZeroBlock(block)) break;
    const header = parseHeader(block);
    const start = at + BLOCK_BYTES;
    const length = extension.size ?? header.size;
    if (length < 0 || start + length > size) throw new TarError('is truncated');
    const next = await readExtension(file, start, header, extension);
    if (next === undefined) addMember(members, header, extension, { start, size: length });
    extension = next ?? {};
    at = start + Math.ceil(length / BLOCK_BYTES) * BLOCK_BYTES;
  }
  return members;
}

/** @returns undefined for a member */
async function readExtension(
  file: FileHandle,
  start: number,
  { type, size }: TarHeader,
  former: Extension,
): Promise<Extension | undefined> {
  if (!['x', 'g', 'L', 'K'].includes(type)) return undefined;
  if (size > LIMITS.extended)
    throw new TarError(`has an extended header of more than ${LIMITS.extended} bytes`);
  const bytes = await readAt(file, start, size);
  if (type === 'g') return former;
  if (type === 'L') return { ...former, path: untilZero(bytes) };
  if (type === 'K') return { ...former, target: untilZero(bytes) };
  const records = new Map(parsePax(bytes).map(({ key, value }) => [key, value.toString('utf8')]));
  const sizeText = records.get('size');
  if (sizeText !== undefined && !/^\d{1,15}$/.test(sizeText))
    throw new TarError('has a size that is no number');
  return {
    path: records.get('path') ?? former.path,
    target: records.get('linkpath') ?? former.target,
    size: sizeText === undefined ? former.size : Number(sizeText),
  };
}

function addMember(
  members: Map<string, Member>,
  header: TarHeader,
  extension: Extension,
  range: { readonly start: number; readonly size: number },
): void {
  const name = normalize(extension.path ?? header.name);
  const target = extension.target ?? header.target;
  if (header.type === '0' || header.type === '\0' || header.type === '7') members.set(name, range);
  else if (header.type === '1') members.set(name, { target: normalize(target) });
  else if (header.type === '2') members.set(name, { target: posix.join(posix.dirname(name), target) });
}

function normalize(name: string): string {
  return posix.normalize(name).replace(/^(?:\.?\/)+/, '');
}

function openMember(
  image: string,
  file: FileHandle,
  members: ReadonlyMap<string, Member>,
  name: string,
): FileRange | undefined {
  let member = members.get(normalize(name));
  for (let links = 0; member !== undefined && 'target' in member; links++) {
    if (links >= LIMITS.links) throw new ImageError('invalid', image, `its file ${name} is a loop of links`);
    member = members.get(normalize(member.target));
    if (member === undefined)
      throw new ImageError(
        'invalid',
        image,
        `its file ${name} is a link out of the archive, or to a missing file`,
      );
  }
  // the archive owns the open file
  return member === undefined ? undefined : { file, ...member, [Symbol.asyncDispose]: async () => undefined };
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
  if (bytesRead < length) throw new TarError('is truncated');
  return buffer;
}

function untilZero(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}
