import { RunError } from '../../../run/errors.ts';
import { removeVm } from '../../../run/vm-directory/vm-directories.ts';
import { endVm } from '../end-vm.ts';
import type { CommandLine } from '../verb.ts';
import { findNamedVm, forEachVm } from '../vms.ts';

/** Removes VMs. With --force a VM may be absent: its message is printed, and the exit code is 0, as that of docker. */
export async function run(line: CommandLine): Promise<number> {
  const isForced = line.has('force');
  const remove = isForced ? endAndRemoveVm : removeEndedVm;
  return forEachVm(line.operands, remove, { allowsAbsent: isForced });
}

async function endAndRemoveVm(text: string): Promise<void> {
  const entry = await findNamedVm(text);
  try {
    if (entry.isOwned) await endVm(entry, { graceMs: 0 });
    await removeVm(entry.record.name);
  } catch (error) {
    // removed meanwhile by its owner process or another call
    if (!(error instanceof RunError) || error.fault !== 'not-found') throw error;
  }
}

async function removeEndedVm(text: string): Promise<void> {
  const { record } = await findNamedVm(text);
  await removeVm(record.name);
}
