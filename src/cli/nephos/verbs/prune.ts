import { listImages, pruneImages } from '../../../images/index.ts';
import { removeImageCaches } from '../../../run/image-caches.ts';
import { RunError } from '../../../run/errors.ts';
import { removeLeftOvers, removeVm } from '../../../run/vm-directory/vm-directories.ts';
import { removeWarmEntries } from '../../../run/warm/warm-sweep.ts';
import { imagesInUse } from '../../../run/vm-directory/images-in-use.ts';
import { reasonOf } from '../../../util/errno.ts';
import { showSize } from '../text.ts';
import type { CommandLine } from '../verb.ts';
import { listShownVms } from '../vms.ts';

/** Removes ended VMs, warm snapshots, and files that no image needs. @returns 1 where a VM could not be removed */
export async function run(line: CommandLine): Promise<number> {
  const areRemoved = await removeEndedVms();
  await removeLeftOvers();
  const warm = await removeWarmEntries();
  if (warm > 0) process.stdout.write(`warm snapshots ${showSize(warm)}\n`);
  const inUse = await imagesInUse();
  const { names, digests, freed } = await pruneImages({ inUse, all: line.has('all') });
  for (const name of [...names, ...digests]) process.stdout.write(`image ${name}\n`);
  const used = (await listImages()).filter(({ digest }) => inUse.includes(digest));
  const caches = await removeImageCaches(used);
  if (caches.disks > 0) process.stdout.write(`disks with layers ${showSize(caches.freed)}\n`);
  process.stdout.write(`freed: ${showSize(warm + freed + caches.freed)}\n`);
  return areRemoved ? 0 : 1;
}

/** Removes the VMs that have exited or crashed; prints each name, or why it stays. @returns true where none of them stays */
async function removeEndedVms(): Promise<boolean> {
  let failures = 0;
  for (const { entry, state } of await listShownVms()) {
    if (state !== 'exited' && state !== 'crashed') continue;
    const { name } = entry.record;
    try {
      await removeVm(name);
      process.stdout.write(`VM ${name}\n`);
    } catch (error) {
      // another call has removed it
      if (error instanceof RunError && error.fault === 'not-found') continue;
      failures++;
      process.stderr.write(`nephos: VM ${name} stays: ${reasonOf(error)}\n`);
    }
  }
  return failures === 0;
}
