import { realpath } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { ApiError } from '../../api/errors.ts';
import type { AnyConfig, Device } from '../../devices/device.ts';
import { configuredSlot } from '../../devices/common/pci.ts';
import { hasFreeSlot, type Placement } from '../../plan/placement.ts';
import type { Machine } from '../machine.ts';
import type { Vm } from '../vm.ts';
import { releaseEjected } from './ejected.ts';

/** Time limit for a release by the guest that an operation needs, in milliseconds. */
export const RELEASE_MS = 5000;

/** Interval of the checks for a release, in milliseconds. */
const CHECK_MS = 10;

/** A device that is to be attached. */
export interface NewDevice {
  readonly device: Device;
  readonly config: AnyConfig;
  readonly id: string | undefined;
}

/**
 * Waits until the guest has released the removed devices that occupy the new device's id, file, socket or PCI slot, or the last free
 * slot. Rejects with ApiError naming the device if the guest does not release it. There is no wait for a paused guest.
 */
export async function untilReleased(
  { booted, state }: Vm,
  added: NewDevice,
  waits: AbortSignal,
): Promise<void> {
  if (booted === undefined) return;
  const { machine } = booted;
  const isHeld = async (): Promise<boolean> => (await holdersOf(machine, added)).length > 0;
  await waitWhile(machine, isHeld, { waits, limitMs: state === 'Paused' ? 0 : RELEASE_MS });
  const [holder] = await holdersOf(machine, added);
  if (holder !== undefined) throw heldBy(holder, added);
}

interface WaitOptions {
  readonly waits: AbortSignal;
  /** time limit in milliseconds */
  readonly limitMs: number;
}

/** Waits while `isHeld` returns true, until the time limit, the abort of `waits` or QEMU's exit. Releases ejected devices. */
export async function waitWhile(
  machine: Machine,
  isHeld: () => boolean | Promise<boolean>,
  { waits, limitMs }: WaitOptions,
): Promise<void> {
  const end = performance.now() + limitMs;
  await releaseEjected(machine);
  while ((await isHeld()) && !waits.aborted && performance.now() < end) {
    const hasEnded = await Promise.race([delay(CHECK_MS, false), machine.qemu.ended.then(() => true)]);
    if (hasEnded) return;
    await releaseEjected(machine);
  }
}

/** Part of a removed device that a new device needs. */
type Need = 'id' | 'resource' | 'slot';

interface Holder {
  readonly placement: Placement;
  readonly need: Need;
}

async function holdersOf(machine: Machine, added: NewDevice): Promise<Holder[]> {
  const holders: Holder[] = [];
  for (const placement of machine.layout.placements) {
    const need = machine.detaching.has(placement.id) ? await needOf(machine, placement, added) : undefined;
    if (need !== undefined) holders.push({ placement, need });
  }
  return holders;
}

async function needOf(
  { layout }: Machine,
  placement: Placement,
  added: NewDevice,
): Promise<Need | undefined> {
  const { id, device } = added;
  if (placement.id === id) return 'id';
  if (!device.many && placement.device === device) return 'resource';
  if (await holdsResource(placement, added)) return 'resource';
  const asked = configuredSlot(added);
  const needsSlot = asked === undefined ? !hasFreeSlot(layout) : placement.slot === asked;
  return device.takesSlot && placement.slot !== undefined && needsSlot ? 'slot' : undefined;
}

async function holdsResource({ config }: Placement, added: NewDevice): Promise<boolean> {
  // several devices may have the same read-only image
  if (isReadonly(config) && isReadonly(added.config)) return false;
  const resources = await resourcesOf(added.config);
  return [...(await resourcesOf(config))].some((one) => resources.has(one));
}

function isReadonly(config: AnyConfig): boolean {
  return config !== true && config['readonly'] === true;
}

/** Members of configurations that name a resource of the host that only one device can use. */
const PATHS = ['path', 'file', 'socket', 'vhost_socket'] as const;
const OTHERS = ['tap', 'fd'] as const;

/** Returns keys of a device's host resources; equal resources have equal keys. */
async function resourcesOf(config: AnyConfig): Promise<ReadonlySet<string>> {
  if (config === true) return new Set();
  const paths = PATHS.map((name) => config[name]).filter((value) => typeof value === 'string');
  const real = await Promise.all(paths.map((path) => realpath(path).catch(() => path)));
  const others = OTHERS.filter((name) => config[name] !== undefined).map(
    (name) => `${name} ${JSON.stringify(config[name])}`,
  );
  return new Set([...real, ...others]);
}

function heldBy({ placement, need }: Holder, added: NewDevice): ApiError {
  const { id, device } = added;
  const why = `${nameOf(placement.device)} ${placement.id} was removed, and the guest has not released it yet`;
  const name = `${nameOf(device)}${id === undefined ? '' : ` ${id}`}`;
  switch (need) {
    case 'id':
      return new ApiError('duplicate-id', `The id "${id}" is taken: ${why}`);
    case 'resource':
      return new ApiError('failed', `${name}: is in use by another device: ${why}`);
    case 'slot':
      return new ApiError('failed', `${name}: ${slotRefusal(configuredSlot(added))}: ${why}`);
  }
}

function slotRefusal(asked: number | undefined): string {
  return asked === undefined ? 'no PCI slot is free' : `PCI slot ${asked} is in use`;
}

function nameOf({ flag, member }: Device): string {
  return flag ?? member;
}
