import { realpath } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { ApiError } from '../../api/errors.ts';
import type { AnyConfig, Device } from '../../devices/device.ts';
import { askedSlot } from '../../devices/common/pci.ts';
import { hasFreeSlot, type Placement } from '../../plan/placement.ts';
import type { Machine } from '../machine.ts';
import type { Vm } from '../vm.ts';
import { releaseEjected } from './ejected.ts';

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
 * slot that it asks for, the last slot. Rejects with ApiError naming the device where the guest does not; a paused guest is not waited for.
 */
export async function untilReleased(
  { live, state }: Vm,
  added: NewDevice,
  waits: AbortSignal,
): Promise<void> {
  if (live === undefined) return;
  const { machine } = live;
  const isHeld = async (): Promise<boolean> => (await holdersOf(machine, added)).length > 0;
  await waitWhile(machine, isHeld, { waits, patience: state === 'Paused' ? 0 : PATIENCE_MS });
  const [holder] = await holdersOf(machine, added);
  if (holder !== undefined) throw heldBy(holder, added);
}

interface WaitOptions {
  readonly waits: AbortSignal;
  /** in milliseconds */
  readonly patience: number;
}

/** Waits while something is held that the guest is to release, at most as long as `patience` says. */
export async function waitWhile(
  machine: Machine,
  isHeld: () => boolean | Promise<boolean>,
  { waits, patience }: WaitOptions,
): Promise<void> {
  const end = performance.now() + patience;
  await releaseEjected(machine);
  while ((await isHeld()) && !waits.aborted && performance.now() < end) {
    const hasEnded = await Promise.race([delay(LOOK_MS, false), machine.qemu.ended.then(() => true)]);
    if (hasEnded) return;
    await releaseEjected(machine);
  }
}

/** As long as a guest that runs gets. */
export const RELEASE_PATIENCE_MS = PATIENCE_MS;

/** What of a removed device a new one needs. */
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
  const asked = askedSlot(added);
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

/** Members of configurations that name something of the host which only one device can have. */
const PATHS = ['path', 'file', 'socket', 'vhost_socket'] as const;
const OTHERS = ['tap', 'fd'] as const;

/** What a device has of the host, each as a text that is the same for the same thing. */
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
  const what = `${nameOf(device)}${id === undefined ? '' : ` ${id}`}`;
  switch (need) {
    case 'id':
      return new ApiError('duplicate-id', `The id "${id}" is taken: ${why}`);
    case 'resource':
      return new ApiError('failed', `${what}: is in use by another device: ${why}`);
    case 'slot':
      return new ApiError('failed', `${what}: ${slotRefusal(askedSlot(added))}: ${why}`);
  }
}

function slotRefusal(asked: number | undefined): string {
  return asked === undefined ? 'no PCI slot is free' : `PCI slot ${asked} is in use`;
}

function nameOf({ flag, member }: Device): string {
  return flag ?? member;
}
