import type { Readable, Writable } from 'node:stream';
import type { Connection } from '../connection.ts';
import { GuestError } from '../errors.ts';
import type { FileKind, TransferOptions } from '../guest.ts';
import { startLimit } from '../limit.ts';
import { reasonOf } from '../../util/errno.ts';
import { downloadTo } from './download.ts';
import { withSftp, type GuestFile, type Transfer } from './sftp.ts';
import { uploadTo } from './upload.ts';

/** Copies a file, a directory or a stream into the guest. @throws GuestError */
export function upload(
  connection: Connection,
  from: string | Readable,
  to: string,
  options: TransferOptions,
): Promise<void> {
  return transferFiles(connection, options, `upload to ${to}`, (transfer) =>
    uploadTo(transfer, from, to, options),
  );
}

/** Copies a file or a directory of the guest to the host, or a file to a stream. @throws GuestError */
export function download(
  connection: Connection,
  from: string,
  to: string | Writable,
  options: TransferOptions,
): Promise<void> {
  return transferFiles(connection, options, `download of ${from}`, (transfer) =>
    downloadTo(transfer, from, to),
  );
}

/** Writes the files of a tar archive below a directory of the guest. @throws GuestError */
export function uploadArchive(
  connection: Connection,
  from: Readable,
  to: string,
  options: TransferOptions,
): Promise<void> {
  return transferFiles(connection, options, `upload to ${to}`, async (transfer) =>
    // seldom used
    (await import('./archive.ts')).uploadArchive(transfer, from, to),
  );
}

/** Writes a file or a directory of the guest to a stream, as a tar archive. @throws GuestError */
export function downloadArchive(
  connection: Connection,
  from: string,
  to: Writable,
  options: TransferOptions,
): Promise<void> {
  return transferFiles(connection, options, `download of ${from}`, async (transfer) =>
    (await import('./archive.ts')).downloadArchive(transfer, from, to),
  );
}

/** Returns the kind of a file in the guest, for a link that of its target; undefined if there is none. @throws GuestError */
export async function kindOf(connection: Connection, path: string): Promise<FileKind | undefined> {
  let found: GuestFile | undefined;
  await transferFiles(connection, {}, `look-up of ${path}`, async ({ sftp }) => {
    const own = await sftp.lstat(path);
    // a link without a target is a link
    found = own?.kind === 'link' ? await sftp.stat(path).catch(() => own) : own;
  });
  return found?.kind;
}

async function transferFiles(
  connection: Connection,
  { signal, onProgress, onSkipped }: TransferOptions,
  name: string,
  run: (transfer: Transfer) => Promise<void>,
): Promise<void> {
  using limit = startLimit(name, signal === undefined ? {} : { signal });
  let done = 0;
  const onBytes = (count: number): void => {
    done += count;
    onProgress?.(done);
  };
  try {
    limit.check();
    await withSftp(connection, limit.signal, (session) =>
      run({ ...session, signal: limit.signal, onBytes, onSkipped }),
    );
  } catch (error) {
    limit.check();
    const failed = connection.failure() ?? error;
    if (failed instanceof GuestError) throw failed;
    throw new GuestError('transfer', `${name}: ${reasonOf(failed)}`, { cause: failed });
  }
}
