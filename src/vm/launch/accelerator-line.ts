import type { Accelerator } from '../../host/system/accelerator.ts';
import { createLog } from '../../util/log.ts';

const log = createLog('accel');

let told: string | undefined;

/** Logs once what a machine runs on: emulation is slow, so the user must see it, and why. */
export function tellAccelerator({ name, reason }: Accelerator): void {
  const line = lineOf(name, reason);
  if (line === told) return;
  told = line;
  if (reason === undefined) log.info(line);
  else log.warn(line);
}

function lineOf(name: Accelerator['name'], reason: string | undefined): string {
  if (name !== 'tcg') return `running with ${name.toUpperCase()}`;
  return `running under emulation (TCG), which is slow: ${reason ?? 'NEPHOS_ACCEL asks for it'}`;
}
