import { setTimeout as delay } from 'node:timers/promises';
import { ApiError } from '../../api/errors.ts';
import type { ClientOperation } from '../../api/route.ts';
import { runOnVm } from '../operations.ts';
import type { VmmState } from '../vmm-state.ts';
import { removeDevice, type RemovedDevice } from './remove.ts';

/** Time limit for the release if the client gives none, in milliseconds. */
const RELEASE_LIMIT_MS = 60_000;

/** Interval of the checks for the release, in milliseconds. */
const CHECK_MS = 20;

/**
 * Serves vm.remove-device. If the client observes the operation, it ends when the guest has released the device; other operations
 * may run during that wait. Rejects with ApiError as `removeDevice` does, and if the guest does not release the device in time.
 */
export async function removeAndWait(
  vmm: VmmState,
  id: string,
  client: ClientOperation | undefined,
): Promise<void> {
  const removed = await runOnVm(vmm, 'vm.remove-device', (vm, running) => removeDevice(vm, id, running), {
    client,
  });
  if (client === undefined || removed === undefined) return;
  client.enter('waiting for the guest');
  await untilReleased(removed, client);
}

async function untilReleased(
  { machine, placement }: RemovedDevice,
  { expired }: ClientOperation,
): Promise<void> {
  const end = performance.now() + RELEASE_LIMIT_MS;
  // the machine of a VM that is shut down or rebooted has no devices any more
  const ended = machine.qemu.ended.then(() => true);
  while (machine.layout.placements.includes(placement)) {
    if (expired.aborted || performance.now() >= end) throw notReleased(placement.id);
    if (await Promise.race([delay(CHECK_MS, false), ended])) return;
  }
}

function notReleased(id: string): ApiError {
  return new ApiError(
    'failed',
    `${id}: the guest has not released it in time: it stays attached until the guest does`,
  );
}
