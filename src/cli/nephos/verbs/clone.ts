import { cloneProblem, withCloneRequest } from '../../../run/clone-vm.ts';
import { checkName } from '../../../run/vm-directory/names.ts';
import { VerbError, type CommandLine } from '../verb.ts';
import { findRunningVm } from '../vms.ts';
import { runInBackground } from './run.ts';

/** Makes a clone of a running VM, with an owner process of its own. */
export async function run({ operands: [name = '', clone = ''] }: CommandLine): Promise<number> {
  checkName(clone);
  const entry = await findRunningVm(name);
  const problem = cloneProblem(entry.record);
  if (problem !== undefined) throw new VerbError(problem.message, problem.hint);
  return withCloneRequest(entry, (request) => runInBackground({ ...request, name: clone, removes: false }));
}
