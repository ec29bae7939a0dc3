import { Client } from '../../../sdk/client.ts';
import type { CommandLine } from '../verb.ts';
import { findRunningVm, forEachVm } from '../vms.ts';

/** Pauses VMs. */
export async function run({ operands }: CommandLine): Promise<number> {
  return forEachVm(operands, async (name) => {
    const { paths } = await findRunningVm(name);
    await new Client(paths.api).call('vm.pause');
  });
}
