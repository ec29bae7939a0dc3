import { constants, type Stats } from 'node:fs';
import { lstat, open, readdir, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { GuestError } from '../errors.ts';
import type { TransferOptions } from '../guest.ts';
import { reasonOf } from '../../util/errno.ts';
import { writeChunks } from './chunks.ts';
import { forEachLimited } from './limited.ts';
import { skipEntry, type Sftp, type Transfer } from './sftp.ts';

/** Default of {@link TransferOptions.mode}. */
const NEW_FILE_MODE = 0o644;

/** Copies a file, a directory or a stream to a path in the guest. Links within a directory stay links. */
export async function uploadTo(
  transfer: Transfer,
  from: string | Readable,
  to: string,
  { mode = NEW_FILE_MODE }: TransferOptions,
): Promise<void> {
  if (typeof from !== 'string') return writeFile(transfer, from, { path: to, mode });
  const status = await hostCall(from, () => stat(from));
  await uploadEntry(transfer, from, to, status);
}

/** A file of the guest to write. */
export interface Target {
  readonly path: string;
  /** Mode of a new file, less the umask */
  readonly mode: number;
  readonly exactMode?: number;
}

async function uploadEntry(transfer: Transfer, from: string, to: string, status: Stats): Promise<void> {
  transfer.signal.throwIfAborted();
  const mode = status.mode & 0o7777;
  if (status.isDirectory()) return uploadDirectory(transfer, from, to, mode);
  if (status.isSymbolicLink()) return uploadLink(transfer.sftp, from, to);
  if (!status.isFile()) throw hostError(from, 'is neither a file, a directory nor a link');
  const file = await hostCall(from, () => open(from, constants.O_RDONLY | constants.O_NONBLOCK));
  await writeFile(transfer, file.createReadStream(), { path: to, mode, exactMode: mode });
}

async function uploadDirectory(transfer: Transfer, from: string, to: string, mode: number): Promise<void> {
  const { sftp } = transfer;
  const existing = await sftp.lstat(to);
  if (existing === undefined) await sftp.makeDirectory(to, mode | 0o700);
  const names = await hostCall(from, () => readdir(from));
  await forEachLimited(names, async (name) => {
    const path = join(from, name);
    const status = await hostCall(path, () => lstat(path));
    if (!isCopied(status)) skipEntry(transfer, path);
    else if (!status.isDirectory()) await uploadEntry(transfer, path, `${to}/${name}`, status);
  });
  for (const name of names) {
    const path = join(from, name);
    const status = await hostCall(path, () => lstat(path));
    if (status.isDirectory()) await uploadEntry(transfer, path, `${to}/${name}`, status);
  }
  if (existing === undefined) await sftp.changeMode(to, mode);
}

function isCopied(status: Stats): boolean {
  return status.isFile() || status.isDirectory() || status.isSymbolicLink();
}

async function uploadLink(sftp: Sftp, from: string, to: string): Promise<void> {
  const target = await hostCall(from, () => readlink(from));
  const existing = await sftp.lstat(to);
  if (existing !== undefined && existing.kind !== 'directory') await sftp.remove(to);
  await sftp.makeLink(to, target);
}

/** Writes a file, and removes a new one after a failure. `exactMode` is set whatever the umask of the guest is. */
export async function writeFile(transfer: Transfer, source: Readable, target: Target): Promise<void> {
  const { sftp, signal, discard, onBytes } = transfer;
  const { path, mode, exactMode } = target;
  const abort = (): void => void source.destroy(new Error('aborted', { cause: signal.reason }));
  signal.addEventListener('abort', abort, { once: true });
  let isIncomplete = false;
  try {
    const { handle, isNew } = await sftp.openToWrite(path, mode & 0o777);
    isIncomplete = isNew;
    await writeChunks({ sftp, path, handle }, source, onBytes);
    if (exactMode !== undefined) await sftp.setMode(path, handle, exactMode);
    await sftp.close(path, handle);
  } catch (error) {
    if (isIncomplete) await discard(path);
    if (error instanceof GuestError) throw error;
    throw new GuestError('transfer', `${path}: its source failed: ${reasonOf(error)}`, { cause: error });
  } finally {
    signal.removeEventListener('abort', abort);
    source.destroy();
  }
}

async function hostCall<T>(path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw hostError(path, reasonOf(error), error);
  }
}

function hostError(path: string, reason: string, cause?: unknown): GuestError {
  return new GuestError('transfer', `${path}: ${reason}`, { cause });
}
