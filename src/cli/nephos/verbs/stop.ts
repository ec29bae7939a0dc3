import { endVm } from '../end-vm.ts';
import type { CommandLine } from '../verb.ts';
import { readTime } from '../values.ts';
import { findNamedVm, forEachVm } from '../vms.ts';

/** Ends VMs in an orderly way. A VM that has ended already stays as it is. */
export async function run(line: CommandLine): Promise<number> {
  const graceMs = readTime('time', line.value('time') ?? '10s');
  return forEachVm(line.operands, async (name) => {
    const entry = await findNamedVm(name);
    if (entry.isOwned) await endVm(entry, { graceMs });
  });
}
