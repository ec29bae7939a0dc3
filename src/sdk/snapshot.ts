import type { Client, ObserveOptions, ReplyBody, RequestBody } from './client.ts';
import { urlOf } from './directories.ts';

/** Options of a snapshot. */
export interface SnapshotOptions extends ObserveOptions<'vm.snapshot'> {
  /** Resume the VM after the snapshot; by default if it was Running before */
  readonly resume?: boolean;
  /** All RAM (`full`, the default), or only the pages that differ from the last snapshot of the VM (`diff`), which must then be kept */
  readonly type?: 'full' | 'diff';
  /** The VM runs on: it is not paused but for some milliseconds, where that is possible, and `resume` has no effect */
  readonly live?: boolean;
  /** With `live`: `copy` copies each disk that the guest can write to into the directory, as it was in the pause. The result has the files */
  readonly disks?: 'copy';
  /**
   * Then replaces a `diff` by a full snapshot, which needs no other. The VM is resumed before, when the changed pages are written; the call
   * resolves when the full snapshot is complete. If that fails, or is cancelled, the differential snapshot stays
   */
  readonly compose?: boolean;
}

/** Returns the body of vm.snapshot. */
export function snapshotRequest(
  directory: string,
  { type, live, disks, compose }: Pick<SnapshotOptions, 'type' | 'live' | 'disks' | 'compose'>,
): RequestBody<'vm.snapshot'> {
  return {
    destination_url: urlOf(directory),
    ...(type !== undefined && { snapshot_type: type }),
    ...(live === true && { live }),
    ...(disks !== undefined && { disks }),
    ...(compose === true && { compose }),
  };
}

/** Way that a snapshot with `live` took, and the time for which the vCPUs were stopped. */
export type LiveSnapshotResult = NonNullable<ReplyBody<'vm.snapshot'>>;

/** Writes a snapshot of a VM that runs on into an existing directory. Rejects if `disks` is set without `live`. */
export async function snapshotLive(
  client: Client,
  directory: string,
  options: SnapshotOptions,
): Promise<LiveSnapshotResult> {
  if (options.live !== true) throw new Error('a snapshot copies disks only with `live: true`');
  const result = await client.observe('vm.snapshot', snapshotRequest(directory, options), options);
  if (result === undefined) throw new Error('this VMM cannot make a snapshot of a running VM');
  return result;
}
