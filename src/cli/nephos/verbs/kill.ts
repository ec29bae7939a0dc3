import { signalCommand } from '../../../run/owner/control-socket.ts';
import { KILL, readLinuxSignal } from '../../../run/signals.ts';
import { UsageError } from '../../flags.ts';
import { endVm } from '../end-vm.ts';
import type { CommandLine } from '../verb.ts';
import { findRunningVm, forEachVm } from '../vms.ts';

/** Kills VMs, or signals their commands. */
export async function run(line: CommandLine): Promise<number> {
  const text = line.value('signal') ?? 'KILL';
  const signal = readLinuxSignal(text);
  if ('hint' in signal) throw new UsageError(`--signal: ${JSON.stringify(text)} is no signal`, signal.hint);
  return forEachVm(line.operands, async (name) => {
    const entry = await findRunningVm(name);
    const send = (): Promise<void> => signalCommand(entry.paths.control, entry.record.name, signal.number);
    if (signal.number !== KILL) return send();
    // the owner process records the signal; a VM without a command ends as well
    await send().catch(() => undefined);
    return endVm(entry, { graceMs: 0 });
  });
}
