/** RAM and vCPUs that the guest's kernel counts. */
import type { Shell } from './shell.ts';
import { until } from './wait.ts';

/** Returns the guest's MemTotal in `MiB`. */
export async function ramOf(shell: Shell): Promise<number> {
  return Number(await shell.run('read _ kib _ </proc/meminfo; echo $((kib / 1024))'));
}

/** Returns MemTotal of each NUMA node of the guest in `MiB`, by the node's number. */
export async function nodeRam(shell: Shell): Promise<number[]> {
  const text = await shell.run("sed -n 's/.*MemTotal: *//p' /sys/devices/system/node/node*/meminfo");
  return text.split('\n').map((line) => Number.parseInt(line, 10) / 1024);
}

/** Waits until the guest has `least` to `most` MiB of RAM. */
export async function hasRam(shell: Shell, least: number, most: number): Promise<void> {
  let ram = 0;
  await until(
    `the guest has ${least} to ${most} MiB`,
    async () => {
      ram = await ramOf(shell);
      return ram >= least && ram <= most;
    },
    () => `it has ${ram} MiB`,
  );
}

/** RAM of a node that its kernel reserves, at most, in `MiB`; most of it is a buffer of 64 MiB for devices. */
const RESERVED_MIB = 96;

/** Waits until the guest's NUMA nodes have these sizes in `MiB`, less what the kernel reserves; undefined is any size. */
export async function hasNodeRam(shell: Shell, sizes: readonly (number | undefined)[]): Promise<void> {
  let seen: readonly number[] = [];
  const isMostOf = (ram: number, size = ram): boolean => ram <= size && ram > size - RESERVED_MIB;
  await until(
    `the nodes have ${sizes.map((size) => size ?? 'any').join(' and ')} MiB`,
    async () => {
      seen = await nodeRam(shell);
      return seen.length === sizes.length && sizes.every((size, i) => isMostOf(seen[i] ?? 0, size));
    },
    () => `they have ${seen.join(' and ')} MiB`,
  );
}

/** Waits until the guest runs on a number of vCPUs. */
export async function hasVcpus(shell: Shell, count: number): Promise<void> {
  await until(
    `the guest runs on ${count} vCPUs`,
    async () => (await shell.run('nproc')) === String(count),
    shell.shown,
  );
}
