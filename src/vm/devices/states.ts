import { ApiError } from '../../api/errors.ts';
import type { MachinePlan } from '../../devices/common/machine-plan.ts';
import type { Layout } from '../../plan/placement.ts';
import type { Machine } from '../machine.ts';
import { pmemState } from './pmem/state.ts';
import type { SavedStates } from './saved-states.ts';
import type { DeviceMemory, StateActions } from './state-actions.ts';
import { vsockState } from './vsock/state.ts';

/*
 * Snapshot, restore and migration of devices whose state QEMU neither saves nor loads. The functions here act on all kinds of
 * the table, so that their callers name none.
 */

/** Kinds of devices with a state that QEMU does not save, in the order in which they are saved, hidden and restored. */
const STATES: readonly StateActions[] = [pmemState, vsockState];

type HasLayout = Pick<Machine, 'layout'>;

/** Returns whether a machine has a device whose state can only be read while the machine is paused. */
export function hasUnsavedDevices({ layout }: HasLayout): boolean {
  return STATES.some((kind) => has(layout, kind));
}

/** Reads the states of a paused machine's devices. */
export async function saveStates(machine: Machine): Promise<SavedStates> {
  const saved: Record<string, unknown> = {};
  for (const kind of STATES) saved[kind.states] = await kind.save(machine);
  // each kind returns the states that its member holds
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return saved as SavedStates;
}

/** Begins {@link restoreStates} in a machine that loads QEMU's state. */
export async function beginStates(machine: Machine, saved: SavedStates): Promise<void> {
  for (const kind of STATES) await kind.begin?.(machine, saved[kind.states]);
}

/** Sets the devices of a machine that has its RAM and QEMU's state and whose vCPUs have not run. */
export async function restoreStates(machine: Machine, saved: SavedStates): Promise<void> {
  for (const kind of STATES) await kind.restore(machine, saved[kind.states]);
}

/** Runs `act`, in which QEMU writes its state, after all hindrances are hidden; see {@link StateActions.hide}. */
export function whileSaveable<R>(machine: Machine, saved: SavedStates, act: () => Promise<R>): Promise<R> {
  const hidden = STATES.toReversed().reduce(
    (inner, kind) => () => kind.hide(machine, saved[kind.states], inner),
    act,
  );
  return hidden();
}

/** Returns the plan without devices that only {@link restoreStates} makes. */
export function planWithoutStates(plan: MachinePlan, layout: Layout): MachinePlan {
  return STATES.reduce((rest, kind) => kind.leaveOut?.(rest, layout) ?? rest, plan);
}

/** Returns the blockers of a migration without those that {@link whileSaveable} removes. */
export function realBlockers({ layout }: HasLayout, reasons: readonly string[]): readonly string[] {
  const removed = STATES.filter((kind) => has(layout, kind)).flatMap(({ blocker }) => blocker ?? []);
  return reasons.filter((reason) => !removed.some((blocker) => blocker.test(reason)));
}

/** Finds the memory of devices that no file holds after QEMU exits. */
export async function deviceMemory(machine: Machine): Promise<DeviceMemory> {
  const all: DeviceMemory[] = [];
  for (const kind of STATES) if (kind.memory !== undefined) all.push(await kind.memory(machine));
  return {
    nameless: all.flatMap(({ nameless }) => nameless),
    discarding: all.flatMap(({ discarding }) => discarding),
  };
}

/** Writes the files of devices to the disk, for a destination that does not share this host's page cache. */
export async function flushDevices(machine: Machine): Promise<void> {
  for (const kind of STATES) await kind.flush?.(machine);
}

/** Rejects with ApiError naming a device that cannot migrate. */
export async function checkDevicesMigrate(machine: Machine): Promise<void> {
  for (const { device, config, id } of machine.layout.placements) {
    const reason = device.unmovable?.(config);
    if (reason === undefined) continue;
    const name = device.flag ?? device.member;
    // a device of which a VM has at most one needs no id
    const which = device.many ? `${name} ${id}` : name;
    throw new ApiError('failed', `${which}: cannot be sent: ${reason}`);
  }
  for (const kind of STATES) await kind.checkMigration?.(machine);
}

function has({ placements }: Layout, { member }: StateActions): boolean {
  return placements.some(({ device }) => device.member === member);
}
