import { RunError } from '../../run/errors.ts';
import { findVm, listVms, type VmEntry } from '../../run/vm-directory/vm-directories.ts';
import { stateOfVm } from '../../run/vm-directory/vm-state.ts';
import type { VmState } from '../../run/record.ts';
import { reasonOf } from '../../util/errno.ts';
import { suggestName } from './suggest.ts';
import { VerbError } from './verb.ts';

/** A VM and its state. */
export interface ShownVm {
  readonly entry: VmEntry;
  readonly state: VmState;
}

/** No VM has the name or id of an operand. */
export class AbsentVmError extends VerbError {}

/** Finds a VM by its name or id. @throws AbsentVmError with the nearest name */
export async function findNamedVm(text: string): Promise<VmEntry> {
  try {
    return await findVm(text);
  } catch (error) {
    if (!(error instanceof RunError) || error.fault !== 'not-found') throw error;
    const names = (await listVms()).map(({ record }) => record.name);
    const hint = suggestName(text, names, 'nephos ps -a');
    throw new AbsentVmError(`there is no VM ${JSON.stringify(text)}`, hint, { cause: undefined });
  }
}

/** Finds a VM whose owner process runs. @throws VerbError */
export async function findRunningVm(text: string): Promise<VmEntry> {
  const entry = await findNamedVm(text);
  if (entry.isOwned) return entry;
  const { name, exit } = entry.record;
  throw new VerbError(
    `the VM ${name} is not running: it ${exit === undefined ? 'crashed' : `exited with code ${exit.code}`}`,
    `nephos logs ${name} shows its output`,
  );
}

/** Lists all VMs with their states. */
export async function listShownVms(): Promise<ShownVm[]> {
  return Promise.all((await listVms()).map(async (entry) => ({ entry, state: await stateOfVm(entry) })));
}

/**
 * Runs a verb for several VMs; prints each name, or why it failed. An absent VM may count as a success, with its message.
 * @returns the exit code
 */
export async function forEachVm(
  names: readonly string[],
  act: (name: string) => Promise<unknown>,
  { allowsAbsent = false }: { readonly allowsAbsent?: boolean } = {},
): Promise<number> {
  let failures = 0;
  for (const name of names) {
    try {
      await act(name);
      process.stdout.write(`${name}\n`);
    } catch (error) {
      if (!(allowsAbsent && error instanceof AbsentVmError)) failures++;
      const hint = error instanceof VerbError && error.hint !== undefined ? `\n${error.hint}` : '';
      process.stderr.write(`nephos: ${reasonOf(error)}${hint}\n`);
    }
  }
  return failures === 0 ? 0 : 1;
}
