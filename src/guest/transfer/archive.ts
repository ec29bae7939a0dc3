import { once } from 'node:events';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract, pack, type Header, type Pack } from 'tar-stream';
import { GuestError } from '../errors.ts';
import { reasonOf } from '../../util/errno.ts';
import { lastName } from '../../util/last-name.ts';
import { readChunks } from './chunks.ts';
import { createBudget, listDirectory, MAX_DEPTH, type TreeTransfer } from './download.ts';
import { skipEntry, type GuestFile, type Sftp, type Transfer } from './sftp.ts';
import { writeFile } from './upload.ts';

/*
 * Files of a guest as tar archives (`pax` of POSIX). Both directions pass the bytes on as they arrive; no archive is kept.
 *
 * An archive for the guest is written below one directory: a name that leaves it is refused. Files replace those of their names, links
 * are replaced and not followed. The owner of new files is the user of the SFTP server.
 */

/** Types of entries that SFTP cannot make. */
const SPECIAL = new Set<Header['type']>(['fifo', 'character-device', 'block-device']);

/** Mode of directories without an entry of their own. */
const NEW_DIRECTORY_MODE = 0o755;

/** Largest time of SFTP version 3, in seconds. */
const TIME_MAX = 2 ** 32 - 1;

/** Writes the files of an archive below a directory of the guest. */
export async function uploadArchive(transfer: Transfer, from: Readable, to: string): Promise<void> {
  const target = await transfer.sftp.stat(to);
  if (target.kind !== 'directory') throw new GuestError('transfer', `${to} in the guest is not a directory`);
  const reader = extract();
  const fed = pipeline(from, reader, { signal: transfer.signal });
  fed.catch(() => undefined);
  const tree = createTree(transfer, to);
  try {
    for await (const entry of reader) {
      transfer.signal.throwIfAborted();
      await tree.write(entry.header, Readable.from(entry));
    }
    await fed;
  } catch (error) {
    if (error instanceof GuestError || transfer.signal.aborted) throw error;
    throw new GuestError('transfer', `the tar archive for ${to}: ${reasonOf(error)}`, { cause: error });
  }
  await tree.finish();
}

interface ArchiveTree {
  readonly write: (header: Header, content: Readable) => Promise<void>;
  /** Sets the modes and times of directories, which their entries change */
  readonly finish: () => Promise<void>;
}

function createTree(transfer: Transfer, root: string): ArchiveTree {
  const { sftp } = transfer;
  const base = root.replace(/\/+$/, '');
  const known = new Set<string>();
  const directories: { readonly path: string; readonly header: Header }[] = [];
  const makeDirectory = async (path: string, mode: number): Promise<void> => {
    if (known.has(path)) return;
    const found = await sftp.lstat(path);
    const isDirectory = found !== undefined && (found.kind === 'link' ? await sftp.stat(path) : found).kind;
    if (found === undefined) await sftp.makeDirectory(path, mode | 0o700);
    else if (isDirectory !== 'directory')
      throw new GuestError('transfer', `${path} in the guest is not a directory`);
    known.add(path);
  };
  return {
    write: async (header, content) => {
      const names = componentsOf(header.name);
      if (names.length === 0) return void content.resume();
      if (SPECIAL.has(header.type) && transfer.onSkipped !== undefined) {
        transfer.onSkipped(header.name);
        return void content.resume();
      }
      const path = [base, ...names].join('/');
      for (let depth = 1; depth < names.length; depth++)
        await makeDirectory([base, ...names.slice(0, depth)].join('/'), NEW_DIRECTORY_MODE);
      if (header.type !== 'directory') {
        known.delete(path);
        return writeEntry(transfer, { path, base }, header, content);
      }
      content.resume();
      await makeDirectory(path, header.mode);
      directories.push({ path, header });
    },
    finish: async () => {
      for (const { path, header } of directories.toReversed()) {
        await sftp.changeMode(path, header.mode & 0o7777);
        await setTime(sftp, path, header);
      }
    },
  };
}

async function writeEntry(
  transfer: Transfer,
  { path, base }: { readonly path: string; readonly base: string },
  header: Header,
  content: Readable,
): Promise<void> {
  const { sftp } = transfer;
  const existing = await sftp.lstat(path);
  if (existing?.kind === 'directory')
    throw new GuestError('transfer', `${path} in the guest is a directory, and no file can replace it`);
  if (existing !== undefined) await sftp.remove(path);
  switch (header.type) {
    case 'symlink':
      content.resume();
      return sftp.makeLink(path, header.linkname);
    case 'link':
      content.resume();
      return sftp.makeHardLink(path, [base, ...componentsOf(header.linkname)].join('/'));
    case 'file':
    case 'contiguous-file': {
      const mode = header.mode & 0o7777;
      await writeFile(transfer, content, { path, mode, exactMode: mode });
      return setTime(sftp, path, header);
    }
    default:
      throw new GuestError(
        'transfer',
        `${header.name} in the tar archive is a ${header.type}: only files, directories and links can be copied`,
      );
  }
}

function setTime(sftp: Sftp, path: string, { mtime }: Header): Promise<void> {
  const seconds = Math.floor(mtime.getTime() / 1000);
  return sftp.changeTime(path, Math.min(Math.max(seconds, 0), TIME_MAX));
}

/** Returns the names of a path in an archive. @throws GuestError for one that leaves the archive */
function componentsOf(path: string): readonly string[] {
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  if (names.includes('..') || path.includes('\0'))
    throw new GuestError('transfer', `${JSON.stringify(path)} in the tar archive leaves its directory`);
  return names;
}

/**
 * Writes a file or a directory of the guest to a stream, which is ended, as an archive. Its names begin with the last name of the path; a
 * directory that is named by `/.` has none.
 */
export async function downloadArchive(transfer: Transfer, from: string, to: Writable): Promise<void> {
  const archive = pack();
  const written = pipeline(archive, to, { signal: transfer.signal });
  written.catch(() => undefined);
  const read = async (): Promise<void> => {
    const file = await transfer.sftp.stat(from);
    const tree = { ...transfer, budget: createBudget() };
    await addEntry({ tree, archive, depth: MAX_DEPTH }, { path: from, name: lastName(from) || '.' }, file);
    archive.finalize();
    await written;
  };
  const reading = read();
  reading.catch(() => undefined);
  try {
    // a reader that has closed ends the wait for it
    await Promise.race([reading, written.then(() => reading)]);
  } catch (error) {
    if (error instanceof GuestError || transfer.signal.aborted) throw error;
    throw new GuestError('transfer', `the tar archive of ${from}: ${reasonOf(error)}`, { cause: error });
  } finally {
    archive.destroy(null);
  }
}

/** Header of an entry to write. */
type NewHeader = Partial<Header> & Pick<Header, 'name'>;

interface ArchiveOutput {
  readonly tree: TreeTransfer;
  readonly archive: Pack;
  readonly depth: number;
}

async function addEntry(
  output: ArchiveOutput,
  { path, name }: { readonly path: string; readonly name: string },
  file: GuestFile,
): Promise<void> {
  const { tree, archive, depth } = output;
  tree.signal.throwIfAborted();
  const { kind, mode, uid, gid, mtime } = file;
  const header = { name, mode, uid, gid, mtime: new Date(mtime * 1000) };
  if (kind === 'link') return addLink(output, path, header);
  if (kind === 'file') return addFile(output, path, { ...header, type: 'file', size: file.size });
  if (kind !== 'directory')
    throw new GuestError('transfer', `${path} in the guest is neither a file, a directory nor a link`);
  if (depth === 0)
    throw new GuestError(
      'transfer',
      `${path} in the guest: more than ${MAX_DEPTH} directories within each other`,
    );
  await addHeader(archive, { ...header, name: `${name}/`, type: 'directory' });
  const entries = await listDirectory(tree, path);
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.kind === 'other') {
      skipEntry(tree, `${path}/${entry.name}`, ' in the guest');
      continue;
    }
    const below = { path: `${path}/${entry.name}`, name: `${name}/${entry.name}` };
    await addEntry({ ...output, depth: depth - 1 }, below, entry);
  }
}

async function addLink({ tree, archive }: ArchiveOutput, path: string, header: NewHeader): Promise<void> {
  const linkname = await tree.sftp.readLink(path);
  if (linkname === '') throw new GuestError('transfer', `${path} in the guest is a link without a target`);
  return addHeader(archive, { ...header, type: 'symlink', linkname });
}

function addHeader(archive: Pack, header: NewHeader): Promise<void> {
  return new Promise((resolve, reject) => {
    archive.entry(header, (error) => (error instanceof Error ? reject(error) : resolve()));
  });
}

/** Adds the bytes that a file had when its size was read; a log may grow meanwhile. */
async function addFile(
  { tree: { sftp, onBytes }, archive }: ArchiveOutput,
  path: string,
  header: NewHeader & { readonly size: number },
): Promise<void> {
  const handle = await sftp.openToRead(path);
  const sink = archive.entry(header);
  let rest = header.size;
  if (rest > 0) {
    for await (const bytes of readChunks({ sftp, path, handle })) {
      const part = bytes.subarray(0, rest);
      rest -= part.length;
      onBytes(part.length);
      if (!sink.write(part)) await once(sink, 'drain');
      if (rest === 0) break;
    }
  }
  await sftp.close(path, handle);
  if (rest > 0) throw new GuestError('transfer', `${path} in the guest became shorter while it was copied`);
  const finished = once(sink, 'close');
  sink.end(null);
  await finished;
}
