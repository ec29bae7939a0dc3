import { constants, readFile } from 'node:fs/promises';
import type { MemoryZoneConfig } from '../../devices/memory/config.ts';
import { reasonOf } from '../../util/errno.ts';
import { checkAccess, statPath } from '../../util/path-calls.ts';

/**
 * Checks that the host has the file and the NUMA node of a memory zone.
 * @throws with the reason, and the path where there is one
 */
export async function checkBacking({ file, size, host_numa_node: node }: MemoryZoneConfig): Promise<void> {
  if (file !== undefined) {
    await checkFile(file, size).catch((error: unknown) => {
      throw new Error(`${file}: ${reasonOf(error)}`, { cause: error });
    });
  }
  if (node !== undefined && !(await hostNodes()).includes(node)) {
    throw new Error(`the host has no NUMA node ${node}`);
  }
}

/** QEMU would create a missing file and extend a short one: a mistake in a path must not do that. */
async function checkFile(path: string, size: number): Promise<void> {
  const status = await statPath(path);
  await checkAccess(path, constants.R_OK | constants.W_OK);
  if (status.isDirectory()) return;
  if (!status.isFile()) throw new Error('is neither a file nor a directory');
  if (status.size < size) throw new Error(`has ${status.size} bytes, ${size} are needed`);
}

/** Returns whether a path is a folder, in which QEMU creates a file without a name; false where the path does not exist. */
export function isDirectory(path: string): Promise<boolean> {
  return statPath(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

const NODES = '/sys/devices/system/node/online';

/** Returns the NUMA nodes of this host; 0 alone where the kernel reports none. */
async function hostNodes(): Promise<number[]> {
  const text = await readFile(NODES, 'utf8').catch(() => '0');
  return text.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}
