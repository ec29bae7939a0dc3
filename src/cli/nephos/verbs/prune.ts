import { pruneImages } from '../../../images/index.ts';
import { removeVm } from '../../../run/vm-directory/vm-directories.ts';
import { removeWarmEntries } from '../../../run/warm/warm-sweep.ts';
import { imagesInUse } from '../../../run/vm-directory/images-in-use.ts';
import { showSize } from '../text.ts';
import type { CommandLine } from '../verb.ts';
import { listShownVms } from '../vms.ts';

/** Removes ended VMs, warm snapshots, and files that no image needs. */
export async function run(line: CommandLine): Promise<number> {
  for (const { entry, state } of await listShownVms()) {
    if (state !== 'exited' && state !== 'crashed') continue;
    // another call may remove it at the same time
    const isRemoved = await removeVm(entry.record.name).then(
      () => true,
      () => false,
    );
    if (isRemoved) process.stdout.write(`VM ${entry.record.name}\n`);
  }
  const snapshots = await removeWarmEntries();
  if (snapshots > 0) process.stdout.write(`warm snapshots: ${snapshots}\n`);
  const { names, digests, freed } = await pruneImages({ inUse: await imagesInUse(), all: line.has('all') });
  for (const name of [...names, ...digests]) process.stdout.write(`image ${name}\n`);
  process.stdout.write(`freed: ${showSize(freed)} of images\n`);
  return 0;
}
