import { open, unlink, type FileHandle } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GuestError } from '../errors.ts';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { openFile, OUTPUT_FLAGS, OUTPUT_KINDS } from '../../util/open-file.ts';
import { readChunks } from './chunks.ts';
import { checkEntryName, openHostDirectory, type HostDirectory } from './host-directory.ts';
import { forEachLimited } from './limited.ts';
import { skipEntry, type GuestEntry, type Sftp, type Transfer } from './sftp.ts';

/** Entries of a download, and depth of its directories: a hostile guest has no end of both. */
const MAX_ENTRIES = 1_000_000;
export const MAX_DEPTH = 100;

/** Copies a file or a directory of the guest to a path of the host, or a file to a stream. Links within a directory stay links. */
export async function downloadTo(transfer: Transfer, from: string, to: string | Writable): Promise<void> {
  const { sftp } = transfer;
  const { kind, mode } = await sftp.stat(from);
  if (kind === 'file') {
    if (typeof to !== 'string') return readFile(transfer, from, to);
    return downloadFile(transfer, from, to, mode);
  }
  if (kind !== 'directory')
    throw new GuestError('transfer', `${from} in the guest is neither a file nor a directory`);
  if (typeof to !== 'string')
    throw new GuestError('transfer', `${from} in the guest is a directory: give a path to download it to`);
  await onHost(to, async () => {
    await using directory = await openHostDirectory(to, mode & 0o777);
    await downloadDirectory({ ...transfer, budget: createBudget() }, from, directory, MAX_DEPTH);
  });
}

/** A transfer of a directory. */
export interface TreeTransfer extends Transfer {
  /** Entries that it may still have */
  readonly budget: { entries: number };
}

/** Returns the budget of a new transfer. */
export function createBudget(): TreeTransfer['budget'] {
  return { entries: MAX_ENTRIES };
}

/** Writes to a path of the user, which may be a link or a device. A new file is removed after a failure. */
async function downloadFile(transfer: Transfer, from: string, to: string, mode: number): Promise<void> {
  await onHost(to, async () => {
    const { file, isNew } = await openTarget(to, mode & 0o777);
    try {
      await readFile(transfer, from, file.createWriteStream());
    } catch (error) {
      if (isNew) await unlink(to).catch(() => undefined);
      throw error;
    }
  });
}

async function openTarget(
  path: string,
  mode: number,
): Promise<{ readonly file: FileHandle; readonly isNew: boolean }> {
  try {
    return { file: await open(path, 'wx', mode), isNew: true };
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
    return { file: await openFile(path, { flags: OUTPUT_FLAGS, kinds: OUTPUT_KINDS, mode }), isNew: false };
  }
}

async function downloadDirectory(
  transfer: TreeTransfer,
  from: string,
  directory: HostDirectory,
  depth: number,
): Promise<void> {
  if (depth === 0)
    throw new GuestError(
      'transfer',
      `${from} in the guest: more than ${MAX_DEPTH} directories within each other`,
    );
  const entries = await listDirectory(transfer, from);
  await forEachLimited(entries, async (entry) => {
    if (entry.kind !== 'directory') await downloadEntry(transfer, `${from}/${entry.name}`, directory, entry);
  });
  for (const { kind, name, mode } of entries) {
    if (kind !== 'directory') continue;
    await using child = await directory.enter(name, mode & 0o777);
    await downloadDirectory(transfer, `${from}/${name}`, child, depth - 1);
  }
}

async function downloadEntry(
  transfer: Transfer,
  path: string,
  directory: HostDirectory,
  { kind, name, mode }: GuestEntry,
): Promise<void> {
  if (kind === 'link') return directory.createLink(name, await transfer.sftp.readLink(path));
  if (kind !== 'file') return skipEntry(transfer, path, ' in the guest');
  const file = await directory.createFile(name, mode & 0o777);
  try {
    await readFile(transfer, path, file.createWriteStream());
  } catch (error) {
    await directory.remove(name).catch(() => undefined);
    throw error;
  }
}

/** Returns the entries of a directory, without `.` and `..`. Each name is there once, and is one component of a path. */
export async function listDirectory(
  { sftp, budget }: TreeTransfer,
  path: string,
): Promise<readonly GuestEntry[]> {
  const handle = await sftp.openDirectory(path);
  const found = new Map<string, GuestEntry>();
  for (;;) {
    const some = await sftp.readDirectory(path, handle);
    if (some === undefined) break;
    budget.entries -= Math.max(1, some.length);
    if (budget.entries < 0)
      throw new GuestError(
        'transfer',
        `${path} in the guest: more than ${MAX_ENTRIES} files and directories`,
      );
    for (const entry of some) {
      if (entry.name !== '.' && entry.name !== '..') found.set(checkEntryName(entry.name), entry);
    }
  }
  await sftp.close(path, handle);
  return [...found.values()];
}

async function readFile({ sftp, signal, onBytes }: Transfer, path: string, to: Writable): Promise<void> {
  const handle = await openToRead(sftp, path, to);
  const chunks = async function* (): AsyncGenerator<Buffer, void> {
    for await (const bytes of readChunks({ sftp, path, handle })) {
      yield bytes;
      onBytes(bytes.length);
    }
  };
  await pipeline(chunks, to, { signal });
  await sftp.close(path, handle);
}

async function openToRead(sftp: Sftp, path: string, to: Writable): Promise<Buffer> {
  try {
    return await sftp.openToRead(path);
  } catch (error) {
    to.destroy();
    throw error;
  }
}

/** Names the path of the host in its errors. */
async function onHost(path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof GuestError) throw error;
    throw new GuestError('transfer', `${path}: ${reasonOf(error)}`, { cause: error });
  }
}
