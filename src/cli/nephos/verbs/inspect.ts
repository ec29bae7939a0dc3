import { stateOfVm } from '../../../run/vm-directory/vm-state.ts';
import type { VmEntry } from '../../../run/vm-directory/vm-directories.ts';
import { Client } from '../../../sdk/client.ts';
import type { CommandLine } from '../verb.ts';
import { showJson } from '../text.ts';
import { findNamedVm } from '../vms.ts';

/** Time limit of vm.info in milliseconds. */
const INFO_MS = 5000;

/** Prints facts about VMs as a JSON array. */
export async function run({ operands }: CommandLine): Promise<number> {
  const vms = [];
  for (const name of operands) vms.push(await factsOf(await findNamedVm(name)));
  process.stdout.write(showJson(vms));
  return 0;
}

async function factsOf(entry: VmEntry): Promise<unknown> {
  const { record, paths } = entry;
  const state = await stateOfVm(entry);
  return { ...record, state, paths, ...(entry.isOwned && { vm: await infoOf(paths.api) }) };
}

/** Returns the answer of vm.info; null if the VMM does not answer. */
async function infoOf(api: string): Promise<unknown> {
  return new Client(api, { timeoutMs: INFO_MS }).call('vm.info').catch(() => null);
}
