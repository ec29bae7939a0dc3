import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, type RequestBody } from '../sdk/client.ts';
import { copyDiskFiles, rebaseOnImage } from './disk/clone-files.ts';
import { DISK_SNAPSHOT_FILES } from './disk/restore-disk.ts';
import { RunError } from './errors.ts';
import type { RunParts } from './owner/parts.ts';
import { startRun, type RunningVm } from './owner/run-vm.ts';
import type { VmRecord } from './record.ts';
import type { RunRequest } from './run-request.ts';
import type { VmEntry } from './vm-directory/vm-directories.ts';

/*
 * Clones of a running VM, for `nephos clone` and the library: a snapshot of the VM, and a run that restores it. The start of the clone gives
 * its guest an identity of its own (warm/clone-start.ts, disk/refresh-guest.ts).
 *
 * Invariant: the snapshot is in the directory of the VM, and is removed when the clones have started: they have its files open. A process
 * that is killed meanwhile leaves nothing after the removal of the VM.
 */

/** Takes a snapshot of a VM, which runs on if it ran. `more` has members of the request. */
export async function takeSnapshot(
  client: Client,
  path: string,
  more: Pick<RequestBody<'vm.snapshot'>, 'snapshot_type' | 'compose' | 'disks'> = {},
): Promise<void> {
  await client.call('vm.snapshot', { destination_url: `file://${path}`, live: true, ...more });
}

/** Takes a snapshot of a paused VM, and does further work while it is paused. A VM that ran is resumed, also after an error. */
async function takePausedSnapshot(
  client: Client,
  path: string,
  whilePaused: () => Promise<void>,
): Promise<void> {
  const { state } = await client.call('vm.info');
  if (state !== 'Paused') await client.call('vm.pause');
  try {
    await client.call('vm.snapshot', { destination_url: `file://${path}` });
    await whilePaused();
  } finally {
    if (state !== 'Paused') await client.call('vm.resume');
  }
}

/** Request of a clone. */
export type CloneRequest = RunRequest & Required<Pick<RunRequest, 'snapshot'>>;

/** Reason why a VM cannot be cloned, and what to do. */
export interface CloneProblem {
  readonly message: string;
  readonly hint: string;
}

/** Returns why a VM cannot be cloned; undefined if it can. */
export function cloneProblem({ name, access, request }: VmRecord): CloneProblem | undefined {
  if (access !== 'vsock' || request.kernel === undefined) return undefined;
  return {
    message: `${name}: a disk image with --kernel cannot be cloned`,
    hint: 'its kernel command line has the identity of the VM: boot it by firmware, without --kernel',
  };
}

/** Takes a snapshot of a running VM for the time of `start`, which gets the request of a clone without a name. @throws RunError */
export async function withCloneRequest<T>(
  { record, paths }: Pick<VmEntry, 'record' | 'paths'>,
  start: (request: CloneRequest) => Promise<T>,
): Promise<T> {
  const problem = cloneProblem(record);
  if (problem !== undefined) throw new RunError('invalid', `${problem.message}: ${problem.hint}`);
  const snapshot = await mkdtemp(join(paths.directory, 'clone-'));
  try {
    await takePausedSnapshot(new Client(paths.api), snapshot, async () => {
      if (record.access === 'vsock') await copyDiskFiles(paths, snapshot);
    });
    return await start(requestOfClone(record, snapshot));
  } finally {
    await rm(snapshot, { recursive: true, force: true });
  }
}

function requestOfClone({ access, request: source }: VmRecord, snapshot: string): CloneRequest {
  const { timeoutMs: _limit, hostname: _hostname, name: _name, ...request } = source;
  return {
    ...request,
    snapshot,
    isDetached: true,
    ...(access === 'vsock' && { command: [], entrypoint: '' }),
    isInteractive: false,
    hasTerminal: false,
    ports: request.ports.map((port) => ({ ...port, hostPort: 0 })),
  };
}

/** Clones to make. */
export interface CloneCount {
  readonly count: number;
  /** Returns the name of a clone; a random one where it is absent */
  readonly name?: ((index: number) => string) | undefined;
  readonly signal: AbortSignal;
}

/** Makes clones of a VM of this process, all from one snapshot. After a failure there is none. @throws as `startRun` */
export async function cloneRun(
  { vm, image }: RunningVm,
  parts: RunParts,
  { count, name, signal }: CloneCount,
): Promise<RunningVm[]> {
  if (count < 1) return [];
  return withCloneRequest(vm, async (request) => {
    // once, before clones have the disk open
    if (image?.kind === 'disk') await rebaseOnImage(join(request.snapshot, DISK_SNAPSHOT_FILES.disk), image);
    const failed = new AbortController();
    const limit = { signal: AbortSignal.any([signal, failed.signal]) };
    const starts = await Promise.allSettled(
      Array.from({ length: count }, async (_, index) => {
        try {
          return await startRun({ ...request, ...(name && { name: name(index) }) }, parts, limit);
        } catch (error) {
          // ends the starts of the others; the first reason stays
          failed.abort(error);
          throw error;
        }
      }),
    );
    const clones = starts.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    if (clones.length === count) return clones;
    await Promise.all(clones.map((clone) => clone.finish({ code: 0 })));
    throw failed.signal.reason;
  });
}
