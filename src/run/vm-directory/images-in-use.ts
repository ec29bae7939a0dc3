import { listVms } from './vm-directories.ts';

/** Returns the digests of the images that VMs use, also ended ones. */
export async function imagesInUse(): Promise<string[]> {
  const digests = (await listVms()).flatMap(({ record }) => record.imageId ?? []);
  return [...new Set(digests)];
}
