import { mkdir, rmdir } from 'node:fs/promises';
import { takeSnapshot } from '../../../run/clone-vm.ts';
import { Client } from '../../../sdk/client.ts';
import { composeSnapshot } from '../../../sdk/compose-snapshot.ts';
import { codeOf, reasonOf } from '../../../util/errno.ts';
import { snapshotDirectory } from '../../snapshot-directory.ts';
import { interruptSignal } from '../interrupt.ts';
import { openProgressLine } from '../progress.ts';
import { printable, showSize } from '../text.ts';
import { VerbError, type CommandLine } from '../verb.ts';
import { findRunningVm } from '../vms.ts';

/** Takes a snapshot of a VM into a new directory, or composes one: `compose DIR NEWDIR`. */
export async function run({
  operands: [name = '', folder = '', composed],
  has,
}: CommandLine): Promise<number> {
  if (composed !== undefined) return compose(name, folder, composed);
  const { paths } = await findRunningVm(name).catch((error: unknown) => {
    throw name === 'compose' ? composeError(error) : error;
  });
  const path = snapshotDirectory(folder);
  await makeFolder(path);
  const client = new Client(paths.api);
  try {
    await takeSnapshot(client, path, {
      ...(has('compose') && { snapshot_type: 'diff', compose: true }),
      ...(has('disks') && { disks: 'copy' }),
    });
  } catch (error) {
    // an empty folder only
    await rmdir(path).catch(() => undefined);
    throw error;
  }
  process.stdout.write(`${printable(path)}\n`);
  return 0;
}

/** Returns the error of `compose` with one directory where no VM has that name. */
function composeError(cause: unknown): VerbError {
  return new VerbError('compose needs two directories', 'expected compose DIR NEWDIR', { cause });
}

async function compose(word: string, from: string, to: string): Promise<number> {
  if (word !== 'compose')
    throw new VerbError(`unexpected argument: ${to}`, 'expected NAME DIR, or compose DIR NEWDIR');
  using interrupt = interruptSignal();
  using line = openProgressLine();
  const path = snapshotDirectory(to);
  await composeSnapshot(snapshotDirectory(from), path, {
    signal: interrupt.signal,
    onProgress: ({ done = 0 }) => line.text(`${showSize(done)} written`),
  });
  process.stdout.write(`${printable(path)}\n`);
  return 0;
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    const hint = codeOf(error) === 'EEXIST' ? 'name a directory that does not exist' : undefined;
    throw new VerbError(`${path}: ${reasonOf(error)}`, hint, { cause: error });
  }
}
