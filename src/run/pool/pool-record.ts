import { lstatSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isLocked } from '../../native/file-lock.ts';
import type { RunRequest } from '../run-request.ts';
import { isPrivateDirectory } from '../vm-directory/private-directory.ts';
import { readBounded, replaceFile } from '../vm-directory/record-file.ts';
import { vmsDirectory } from '../vm-directory/paths.ts';

/*
 * Pools: VMs that are restored already, for the next runs of an image.
 *
 *   pool-record.ts    directory of a pool and its record, `XDG_STATE_HOME/nephos/pools/<key>/` (mode 0700)
 *   pool-key.ts       requests that a pool can serve, and the key of their VM
 *   pool-process.ts   the process of a pool, until a signal or the idle time; pool-members.ts: its stand-by VMs
 *   start-pool.ts     starts and stops that process
 *   stand-by.ts       the owner process of one stand-by VM, until a run takes it
 *   take-vm.ts        makes a stand-by VM that of a run
 *   receive-run.ts    receives a run on the socket of a stand-by VM
 *   run-from-pool.ts  a run in a VM of a pool, for its client
 *   messages.ts       messages between these processes
 *
 * States of a stand-by VM: starting, ready, taken. A taken one belongs to its run alone: the pool has no part in it. Each VM is used once.
 *
 * Invariants: a ready VM has run one command of this program and none of a user. It ends when its pool ends, for any reason; a taken one ends
 * when its client ends. Another client cannot reach a taken VM, because its socket is gone. A run that no VM can serve starts as usual.
 */

/** A VM that waits for a run. */
export interface StandByVm {
  /** Name of its VM directory */
  readonly name: string;
  /** Path of the socket that receives a run */
  readonly socket: string;
}

/** Content of `pool.json`. Times are ISO 8601. */
export interface PoolRecord {
  readonly version: 1;
  /** key of the VMs, and name of the directory */
  readonly key: string;
  /** Request of the stand-by VMs: image and shape */
  readonly request: RunRequest;
  /** Number of VMs that are kept */
  readonly size: number;
  /** The pool ends after this time without a run, in `milliseconds` */
  readonly idleMs: number;
  /** Process of the pool, while it holds the lock */
  readonly pid: number;
  readonly created: string;
  readonly ready: readonly StandByVm[];
  /** Number of runs */
  readonly taken: number;
}

/** Paths of a pool's directory. */
export interface PoolPaths {
  readonly directory: string;
  readonly record: string;
  /** held (flock) by the process of the pool */
  readonly lock: string;
}

/** Directory of all pools. */
export function poolsDirectory(): string {
  return join(dirname(vmsDirectory()), 'pools');
}

/** Returns the paths of the pool with a key. */
export function poolPaths(key: string, pools = poolsDirectory()): PoolPaths {
  const directory = join(pools, key);
  return {
    directory,
    record: join(directory, 'pool.json'),
    lock: join(directory, 'lock'),
  };
}

/** Replaces the record of a pool. */
export function writePool(paths: PoolPaths, record: PoolRecord): void {
  replaceFile(paths.record, `${JSON.stringify(record, undefined, 2)}\n`);
}

/** Reads the record of a pool; undefined where there is none that this user wrote. */
export function readPool(paths: PoolPaths): PoolRecord | undefined {
  if (!isPrivateDirectory(paths.directory)) return undefined;
  try {
    const json: unknown = JSON.parse(readBounded(paths.record));
    return isPool(json) ? json : undefined;
  } catch {
    return undefined;
  }
}

/** The file is this user's alone and written by this program: the version and the members that readers need are checked. */
function isPool(json: unknown): json is PoolRecord {
  if (typeof json !== 'object' || json === null) return false;
  const { version, key, ready, request, pid }: Partial<Record<string, unknown>> = { ...json };
  return (
    version === 1 &&
    typeof key === 'string' &&
    typeof pid === 'number' &&
    Array.isArray(ready) &&
    typeof request === 'object' &&
    request !== null
  );
}

/** Lists the pools whose processes run. */
export async function listPools(pools = poolsDirectory()): Promise<readonly PoolRecord[]> {
  if (lstatSync(pools, { throwIfNoEntry: false }) === undefined) return [];
  const found: PoolRecord[] = [];
  for (const key of readdirSync(pools)) {
    const paths = poolPaths(key, pools);
    const record = readPool(paths);
    if (record !== undefined && (await isLocked(paths.lock))) found.push(record);
  }
  return found.toSorted((a, b) => a.created.localeCompare(b.created));
}
