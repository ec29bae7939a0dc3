import { setTimeout as delay } from 'node:timers/promises';
import { ApiError } from '../../api/errors.ts';
import type { AnyConfig, Device } from '../../devices/device.ts';
import { hasFreeSlot, type Placement } from '../../machine/placement.ts';
import type { Run } from '../run.ts';
import type { Vm } from '../vm.ts';
import { giveBackEjected } from './ejected.ts';

/** How long a guest may take to release a device that something else needs, and how often is looked, in milliseconds. */
const PATIENCE_MS = 5000;
const LOOK_MS = 10;

/** A device that is to be added. */
export interface NewDevice {
  readonly device: Device;
  readonly config: AnyConfig;
  readonly id: string | undefined;
}

/**
 * Waits until the guest has released the devices that were removed and hold what a new one needs: its id, its file or socket, the
 * last slot. Rejects with ApiError naming the device where the guest does not; a paused guest is not waited for.
 */
export async function untilReleased(
  { live, state }: Vm,
  added: NewDevice,
  waits: AbortSignal,
): Promise<void> {
  if (live === undefined) return;
  const { run } = live;
  const holders = (): Placement[] => run.layout.placements.filter((one) => holds(run, one, added));
  const patience = state === 'Paused' ? 0 : PATIENCE_MS;
  await waitWhile(run, () => holders().length > 0, { waits, patience });
  const [holder] = holders();
  if (holder !== undefined) throw heldBy(holder, added);
}

interface WaitOptions {
  readonly waits: AbortSignal;
  /** in milliseconds */
  readonly patience: number;
}

/** Waits while something is held that the guest is to release, at most as long as `patience` says. */
export async function waitWhile(
  run: Run,
  isHeld: () => boolean,
  { waits, patience }: WaitOptions,
): Promise<void> {
  const end = performance.now() + patience;
  await giveBackEjected(run);
  while (isHeld() && !waits.aborted && performance.now() < end) {
    const hasEnded = await Promise.race([delay(LOOK_MS, false), run.qemu.ended.then(() => true)]);
    if (hasEnded) return;
    await giveBackEjected(run);
  }
}

/** As long as a guest that runs gets. */
export const RELEASE_PATIENCE_MS = PATIENCE_MS;

function holds(run: Run, placement: Placement, added: NewDevice): boolean {
  if (!run.leaving.has(placement.id)) return false;
  if (placement.id === added.id || sharesResource(placement.config, added.config)) return true;
  if (!added.device.many && placement.device === added.device) return true;
  return added.device.takesSlot && placement.slot !== undefined && !hasFreeSlot(run.layout);
}

/** Members of configurations that name something of the host which only one device can have. */
const RESOURCES = ['path', 'file', 'socket', 'vhost_socket', 'tap', 'fd'] as const;

function sharesResource(one: AnyConfig, other: AnyConfig): boolean {
  if (one === true || other === true) return false;
  return RESOURCES.some((name) => {
    const value = one[name];
    return value !== undefined && JSON.stringify(value) === JSON.stringify(other[name]);
  });
}

function heldBy(holder: Placement, { id, device, config }: NewDevice): ApiError {
  const why = `${nameOf(holder.device)} ${holder.id} was removed, and the guest has not released it yet`;
  if (holder.id === id) return new ApiError('duplicate-id', `The id "${id}" is taken: ${why}`);
  const what = `${nameOf(device)}${id === undefined ? '' : ` ${id}`}`;
  if (sharesResource(holder.config, config)) {
    return new ApiError('failed', `${what}: is in use by another device: ${why}`);
  }
  return new ApiError('failed', `${what}: no place is free: ${why}`);
}

function nameOf({ flag, member }: Device): string {
  return flag ?? member;
}
