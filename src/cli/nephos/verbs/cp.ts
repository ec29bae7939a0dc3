import { stat } from 'node:fs/promises';
import type { Guest } from '../../../guest/guest.ts';
import { clip } from '../../../util/clip.ts';
import { reasonOf } from '../../../util/errno.ts';
import { openDescriptorSink } from '../../../run/owner/descriptor-sink.ts';
import { UsageError } from '../../flags.ts';
import { copyTarget, readCopyPath, type CopyPath } from '../guest-path.ts';
import { interruptSignal } from '../interrupt.ts';
import { openGuest } from '../open-guest.ts';
import { openProgressLine, type ProgressLine } from '../progress.ts';
import { printable, showSize } from '../text.ts';
import { VerbError, type CommandLine } from '../verb.ts';
import { findRunningVm } from '../vms.ts';

/** Copies files between the host and a VM. */
export async function run({ operands: [from = '', to = ''] }: CommandLine): Promise<number> {
  const [source, destination] = [readCopyPath(from), readCopyPath(to)];
  const vm = source.kind === 'guest' ? source.vm : destination.kind === 'guest' ? destination.vm : undefined;
  if (vm === undefined || (source.kind === 'guest' && destination.kind === 'guest'))
    throw new UsageError('nephos cp: one of the paths must be NAME:PATH', 'e.g. nephos cp ./x web:/tmp/');
  const entry = await findRunningVm(vm);
  using interrupt = interruptSignal();
  await using guest = await openGuest(entry, interrupt.signal);
  await copy(guest, [source, destination], interrupt.signal);
  return 0;
}

async function copy(
  guest: Guest,
  [source, destination]: readonly [CopyPath, CopyPath],
  signal: AbortSignal,
): Promise<void> {
  using progress = openProgressLine();
  const options = {
    signal,
    onProgress: (bytes: number) => progress.text(`copied ${showSize(bytes)}`),
    onSkipped: (path: string) => warn(progress, path),
  };
  if (destination.kind === 'guest') return await upload(guest, source, destination.path, options);
  if (source.kind !== 'guest') return;
  if (destination.kind === 'stream') return await writeArchive(guest, source.path, options);
  const isDirectory = await isHostDirectory(destination.path);
  checkTarget(destination.path, isDirectory);
  return await guest.download(source.path, copyTarget(source.path, destination.path, isDirectory), options);
}

/** Longest path in a warning, in characters: that of a guest has any length. */
const PATH_MAX = 4096;

function warn(progress: ProgressLine, path: string): void {
  progress[Symbol.dispose]();
  process.stderr.write(
    `nephos: ${clip(printable(path), PATH_MAX)}: skipped, a socket, FIFO or device cannot be copied\n`,
  );
}

function writeArchive(guest: Guest, path: string, options: Parameters<Guest['upload']>[2]): Promise<void> {
  if (process.stdout.isTTY)
    throw new VerbError('standard output is a terminal, and the copy is a tar archive', 'e.g. | tar -xf -');
  return guest.downloadArchive(path, openDescriptorSink(1), options);
}

async function upload(
  guest: Guest,
  source: CopyPath,
  path: string,
  options: Parameters<Guest['upload']>[2],
): Promise<void> {
  if (source.kind !== 'host') return guest.uploadArchive(process.stdin, path, options);
  await stat(source.path).catch((error: unknown) => {
    throw new VerbError(`${source.path}: ${reasonOf(error)}`, undefined, { cause: error });
  });
  const isDirectory = (await guest.kindOf(path)) === 'directory';
  checkTarget(path, isDirectory);
  return guest.upload(source.path, copyTarget(source.path, path, isDirectory), options);
}

/** A path that ends with a slash names a directory. */
function checkTarget(path: string, isDirectory: boolean): void {
  if (isDirectory || !path.endsWith('/')) return;
  throw new VerbError(`${path} is no directory`, 'make it first, or leave out the slash');
}

async function isHostDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (status) => status.isDirectory(),
    () => false,
  );
}
