import { RunError } from '../../../run/errors.ts';
import { removeVm } from '../../../run/vm-directory/vm-directories.ts';
import { endVm } from '../end-vm.ts';
import { VerbError, type CommandLine } from '../verb.ts';
import { findNamedVm, forEachVm } from '../vms.ts';

/** Removes VMs. */
export async function run(line: CommandLine): Promise<number> {
  const isForced = line.has('force');
  return forEachVm(line.operands, async (text) => {
    if (!isForced) return removeEndedVm(text);
    try {
      const entry = await findNamedVm(text);
      if (entry.isOwned) await endVm(entry, { graceMs: 0 });
      await removeVm(entry.record.name);
    } catch (error) {
      // absent, or removed by its owner process or another call
      if (error instanceof VerbError || (error instanceof RunError && error.fault === 'not-found')) return;
      throw error;
    }
  });
}

async function removeEndedVm(text: string): Promise<void> {
  const { record } = await findNamedVm(text);
  await removeVm(record.name);
}
