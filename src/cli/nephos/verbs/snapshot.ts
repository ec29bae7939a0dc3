import { mkdir, rmdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Client } from '../../../sdk/client.ts';
import { codeOf, reasonOf } from '../../../util/errno.ts';
import { printable } from '../text.ts';
import { VerbError, type CommandLine } from '../verb.ts';
import { findRunningVm } from '../vms.ts';

/** Takes a snapshot of a VM into a new directory. */
export async function run({ operands: [name = '', folder = ''] }: CommandLine): Promise<number> {
  const { paths } = await findRunningVm(name);
  const path = resolve(folder);
  await makeFolder(path);
  const client = new Client(paths.api);
  try {
    await takeSnapshot(client, path);
  } catch (error) {
    // an empty folder only
    await rmdir(path).catch(() => undefined);
    throw error;
  }
  process.stdout.write(`${printable(path)}\n`);
  return 0;
}

/** Takes a snapshot of a paused VM. A VM that ran is resumed, also after an error. */
export async function takeSnapshot(client: Client, path: string): Promise<void> {
  const { state } = await client.call('vm.info');
  if (state !== 'Paused') await client.call('vm.pause');
  try {
    await client.call('vm.snapshot', { destination_url: `file://${path}` });
  } finally {
    if (state !== 'Paused') await client.call('vm.resume');
  }
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    const hint = codeOf(error) === 'EEXIST' ? 'name a directory that does not exist' : undefined;
    throw new VerbError(`${path}: ${reasonOf(error)}`, hint, { cause: error });
  }
}
