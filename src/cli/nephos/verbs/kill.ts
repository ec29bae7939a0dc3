import { constants } from 'node:os';
import { didYouMean, nearest } from '../../../util/nearest.ts';
import { UsageError } from '../../flags.ts';
import { endVm, signalOwner } from '../end-vm.ts';
import type { CommandLine } from '../verb.ts';
import { findRunningVm, forEachVm } from '../vms.ts';

/** Kills VMs, or signals their commands. */
export async function run(line: CommandLine): Promise<number> {
  const signal = readSignal(line.value('signal') ?? 'KILL');
  return forEachVm(line.operands, async (name) => {
    const entry = await findRunningVm(name);
    if (signal === 'SIGKILL') await endVm(entry, { graceMs: 0 });
    else await signalOwner(entry.record.name, signal);
  });
}

/** Reads a signal: `HUP`, `SIGHUP`, `hup` or `1`. @throws UsageError */
export function readSignal(text: string): NodeJS.Signals {
  const word = text.toUpperCase().replace(/^SIG/, '');
  const names = Object.keys(constants.signals).filter(isSignal);
  const known = names.find((name) => name === `SIG${word}` || String(constants.signals[name]) === word);
  if (known !== undefined) return known;
  const meant = nearest(
    word,
    names.map((name) => name.slice(3)),
  );
  throw new UsageError(
    `--signal: ${JSON.stringify(text)} is no signal`,
    didYouMean(meant) ?? 'expected e.g. TERM or 15',
  );
}

function isSignal(name: string): name is NodeJS.Signals {
  return Object.hasOwn(constants.signals, name);
}
