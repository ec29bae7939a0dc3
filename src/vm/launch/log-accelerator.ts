import type { Accelerator } from '../../host/system/accelerator.ts';
import { createLog } from '../../util/log.ts';

const log = createLog('accel');

let logged: string | undefined;

/** Logs the accelerator of a machine, once; for emulation, which is slow, also the reason. */
export function logAccelerator({ name, reason }: Pick<Accelerator, 'name' | 'reason'>): void {
  const line = lineOf(name, reason);
  if (line === logged) return;
  logged = line;
  if (reason === undefined) log.info(line);
  else log.warn(line);
}

function lineOf(name: Accelerator['name'], reason: string | undefined): string {
  if (name !== 'tcg') return `running with ${name.toUpperCase()}`;
  return `running under emulation (TCG), which is slow: ${reason ?? 'NEPHOS_ACCEL asks for it'}`;
}
