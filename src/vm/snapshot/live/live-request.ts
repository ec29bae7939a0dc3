import type { VmSnapshotConfig } from '../../../api/requests.ts';
import type { RunningOperation } from '../../../util/operation-tracker.ts';
import type { Machine } from '../../machine.ts';
import type { BootedMachine, Vm } from '../../vm.ts';
import type { PlannedCopy } from './disk-copy-plan.ts';
import type { Freezing } from './find-freezer.ts';

/** A running VM of which a snapshot is made. */
export interface LiveRequest {
  readonly vm: Vm;
  readonly booted: BootedMachine;
  readonly request: VmSnapshotConfig;
  readonly running: RunningOperation;
  /** disks that are copied */
  readonly copied: readonly PlannedCopy[];
  /** without a freezer the VM continues in a twin */
  readonly freezing: Freezing;
  /** Makes a machine that of the VM. */
  readonly setMachine: (machine: Machine) => void;
  /** Returns whether a machine is that of the VM. */
  readonly isCurrent: (machine: Machine) => boolean;
  /** Called when the vCPUs were stopped and could not be started again. */
  readonly onStopped: () => void;
}
