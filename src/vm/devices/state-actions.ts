import type { MachinePlan } from '../../devices/common/machine-plan.ts';
import type { Layout } from '../../plan/placement.ts';
import type { RamBlock } from '../../qemu/qmp/ram-blocks.ts';
import type { Machine } from '../machine.ts';
import type { SavedStates } from './saved-states.ts';

/** Guest memory of devices that no file holds after QEMU exits. */
export interface DeviceMemory {
  /** in a file without a name: all pages must be saved */
  readonly nameless: readonly RamBlock[];
  /** private mapping of a file: the pages that the guest wrote must be saved */
  readonly discarding: readonly RamBlock[];
}

/**
 * Actions for one kind of device whose state QEMU neither saves nor loads (`vm/devices/<kind>/`). `states.ts` has the table;
 * snapshot, restore and migration call its functions and name no kind. `S` is the snapshot state of one device.
 */
export interface StateActions<S = unknown> {
  /** member of VmConfig, which determines whether a placement is of this kind */
  readonly member: string;
  /** member of the machine's description that holds the states */
  readonly states: keyof SavedStates;
  /** blocker of `query-migrate` that {@link hide} removes */
  readonly blocker?: RegExp;
  /** Reads the states of a paused machine's devices. */
  save(machine: Machine): Promise<S[]>;
  /** Begins a restore in a machine that loads QEMU's state, with what does not need that. */
  begin?(machine: Machine, saved: readonly S[]): Promise<void>;
  /** Sets the devices of a machine that has its RAM and QEMU's state and whose vCPUs have not run. */
  restore(machine: Machine, saved: readonly S[]): Promise<void>;
  /**
   * Runs `act`, in which QEMU writes its state, after a change of the devices that makes this possible. Afterwards the devices are
   * as before, also if `act` rejects. `saved` is the result of {@link save}; the machine is paused since then.
   */
  hide<R>(machine: Machine, saved: readonly S[], act: () => Promise<R>): Promise<R>;
  /** Returns the plan without devices that only {@link restore} makes. */
  leaveOut?(plan: MachinePlan, layout: Layout): MachinePlan;
  /** Finds memory of the devices that no file holds. */
  memory?(machine: Machine): Promise<DeviceMemory>;
  /** Writes the devices' files to the disk, for a destination that does not share this host's page cache. */
  flush?(machine: Machine): Promise<void>;
  /** Rejects with ApiError naming a device that cannot migrate. */
  checkMigration?(machine: Machine): Promise<void>;
}
