import type { Shell } from './shell.ts';
import { until } from './wait.ts';

/** RAM that the guest's kernel counts, in MiB. */
export async function ramOf(shell: Shell): Promise<number> {
  return Number(await shell.run('read _ kib _ </proc/meminfo; echo $((kib / 1024))'));
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
