import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { isLocked } from '../../native/file-lock.ts';
import { readVm, type VmEntry } from '../../run/vm-directory/vm-directories.ts';
import { Client } from '../../sdk/client.ts';
import { codeOf } from '../../util/errno.ts';
import { VerbError } from './verb.ts';

const POLL_MS = 20;

/** Time for vmm.shutdown, and for the owner process to end behind a killed VM, in milliseconds. */
const KILL_MS = 10_000;

/** Options of {@link endVm}. */
export interface EndOptions {
  /** Time for an orderly end in `milliseconds`; 0: the VM is killed */
  readonly graceMs: number;
}

/**
 * Ends a VM: asks its owner process with SIGTERM, which ends the command and then the VM; after the time kills the VM, at last the owner
 * process. Returns when the owner process has exited.
 * @throws VerbError if it still runs
 */
export async function endVm({ record, paths }: VmEntry, { graceMs }: EndOptions): Promise<void> {
  if (graceMs > 0 && mayBeSignalled(record, paths)) {
    await signalOwner(record.name, 'SIGTERM');
    if (await hasEnded(paths.lock, graceMs)) return;
  }
  await writeFile(paths.killed, '', { mode: 0o600 }).catch(() => undefined);
  // the owner process sees the exit of its VMM, and writes the record
  await new Client(paths.api, { timeoutMs: KILL_MS }).call('vmm.shutdown').catch(() => undefined);
  if (await hasEnded(paths.lock, KILL_MS)) return;
  await signalOwner(record.name, 'SIGKILL');
  if (await hasEnded(paths.lock, KILL_MS)) return;
  throw new VerbError(`${record.name} does not end: its owner process still holds ${paths.lock}`);
}

/** Returns whether the owner process is `nephos`: another program that owns a VM with `run()` would end by the signal. */
function mayBeSignalled({ started }: VmEntry['record'], { control }: VmEntry['paths']): boolean {
  return started === undefined || existsSync(control);
}

/** Signals the owner process of a VM. Its id counts only while it holds the lock. */
export async function signalOwner(name: string, signal: NodeJS.Signals): Promise<void> {
  const entry = await readVm(name).catch(() => undefined);
  if (entry === undefined || !entry.isOwned || entry.record.ownerPid === undefined) return;
  try {
    process.kill(entry.record.ownerPid, signal);
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
}

async function hasEnded(lock: string, timeoutMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  while (await isLocked(lock)) {
    if (performance.now() >= end) return false;
    await delay(POLL_MS);
  }
  return true;
}
