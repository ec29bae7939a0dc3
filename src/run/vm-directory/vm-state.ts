import { Client } from '../../sdk/client.ts';
import type { VmState } from '../record.ts';
import type { VmEntry } from './vm-directories.ts';

/** Time limit of vm.info, in milliseconds. */
const INFO_MS = 2000;

/** Returns the state of a VM. A VMM that does not answer counts as running: its owner process decides. */
export async function stateOfVm({ record, paths, isOwned }: VmEntry): Promise<VmState> {
  if (!isOwned) return record.exit === undefined ? 'crashed' : 'exited';
  if (record.started === undefined) return 'created';
  if (record.isStandBy === true) return 'stand-by';
  return (await isPaused(paths.api)) ? 'paused' : 'running';
}

async function isPaused(api: string): Promise<boolean> {
  try {
    const { state } = await new Client(api, { timeoutMs: INFO_MS }).call('vm.info');
    return state === 'Paused';
  } catch {
    return false;
  }
}
