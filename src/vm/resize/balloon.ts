import { ApiError } from '../../api/errors.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { bootMemory } from '../../devices/memory/zones.ts';
import type { BootedMachine, Vm } from '../vm.ts';
import { setBalloon } from '../observe/balloon.ts';
import { PAGE_BYTES } from '../../util/page.ts';

/** Page of a balloon, in `bytes`. */

/** Checks the size of the balloon. @throws ApiError `invalid-config`: the VM has no balloon, or the size exceeds the named bound */
export function checkBalloon(desired: number, { config }: Pick<Vm, 'config'>): void {
  const most = bootMemory(config.memory) - PAGE_BYTES;
  if (config.balloon === undefined)
    throw refusal('the VM has no balloon: it can only be given one before it boots');
  if (desired > most) throw refusal(`must be ${most} at most (less than the RAM), got ${desired}`);
  if (desired % PAGE_BYTES !== 0) throw refusal(`must be a multiple of ${PAGE_BYTES}, got ${desired}`);
}

/** Requests a size of the balloon. The guest's driver inflates or deflates it when it is loaded. */
export async function resizeBalloon(
  desired: number,
  { config }: Vm,
  { machine }: BootedMachine,
): Promise<VmConfig> {
  await setBalloon(machine.qemu.qmp, desired);
  return {
    ...config,
    ...(config.balloon === undefined ? {} : { balloon: { ...config.balloon, size: desired } }),
  };
}

function refusal(reason: string): ApiError {
  return new ApiError('invalid-config', `desired_balloon: ${reason}`);
}
