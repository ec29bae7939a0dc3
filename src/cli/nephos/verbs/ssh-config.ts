import type { CommandLine } from '../verb.ts';
import { hostBlock, ownProgram, sshSettings } from '../ssh-settings.ts';
import { findNamedVm } from '../vms.ts';

/** Prints a `Host` block of ssh_config(5) for each VM. */
export async function run(line: CommandLine): Promise<number> {
  const blocks = [];
  for (const name of line.operands) {
    const entry = await findNamedVm(name);
    blocks.push(hostBlock(entry.record.name, sshSettings(entry, line.value('user') ?? 'root', ownProgram())));
  }
  process.stdout.write(blocks.join('\n'));
  return 0;
}
