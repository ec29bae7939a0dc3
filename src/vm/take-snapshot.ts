import { ApiError } from '../api/errors.ts';
import type { VmSnapshotResult } from '../api/replies.ts';
import type { VmSnapshotConfig } from '../api/requests.ts';
import { canActivateNodes } from '../qemu/qmp/block-activation.ts';
import { createLog } from '../util/log.ts';
import type { RunningOperation } from '../util/operation-tracker.ts';
import { lifecycleEvent } from './events.ts';
import { withExitReason } from './guest-exit/qemu-exit.ts';
import { betweenEvents } from './operations.ts';
import { pauseVm, resumeVm, withMachine } from './power.ts';
import { watchInBackground } from './lifecycle.ts';
import { snapshotLive } from './snapshot/live/live-snapshot.ts';
import { planDiskCopies, type PlannedCopy } from './snapshot/live/disk-copy-plan.ts';
import { snapshotVm } from './snapshot/save.ts';
import { findFreezer, reasonOfCalls, type Freezing } from './snapshot/live/find-freezer.ts';
import { reasonAgainstTwin, reasonToCopy } from './snapshot/live/reason-to-copy.ts';
import type { Machine } from './machine.ts';
import type { BootedMachine, Vm } from './vm.ts';
import type { VmmState } from './vmm-state.ts';

const log = createLog('snapshot');

/** Checks the members of a request against each other. @throws ApiError `invalid-config` */
export function checkDisks({ live, disks }: VmSnapshotConfig): void {
  if (disks === undefined || live) return;
  throw new ApiError('invalid-config', '"disks": "copy" needs "live": true: copy the images of a paused VM');
}

/** Serves vm.snapshot: of a paused VM, and with `live` of one that runs on. @returns the way that a snapshot with `live` took */
export async function takeSnapshot(
  vmm: VmmState,
  vm: Vm,
  request: VmSnapshotConfig,
  running: RunningOperation,
): Promise<VmSnapshotResult | undefined> {
  const { booted } = vm;
  const copied = request.disks === 'copy' && booted !== undefined ? planDiskCopies(booted.machine) : [];
  const taking = { vmm, vm, request, running, copied };
  if (!request.live) return savePaused(taking).then(() => undefined);
  const disks = request.disks && copied.map(({ id, file }) => ({ id, file }));
  if (vm.state === 'Paused' || booted === undefined) {
    await savePaused(taking);
    return { method: 'copy', reason: 'the VM was paused already', pause_ms: 0, disks };
  }
  const reason = reasonToCopy(booted.machine) ?? reasonOfCalls(booted.machine);
  const way = reason === undefined ? saveRunning(taking, booted) : pauseAndSave(taking, reason);
  return { ...(await way), disks };
}

/** Freezes the RAM in place; where that is not possible, or fails, the VM continues in a twin, or is paused. */
async function saveRunning(taking: Taking, booted: BootedMachine): Promise<Way> {
  const { machine } = booted;
  const { kill: signal } = taking.running;
  const freezing = await withExitReason(machine.qemu, () => findFreezer(machine, signal));
  await using freezer = freezing.freezer;
  let reason = freezing.freezer === undefined ? freezing.reason : undefined;
  if (freezer !== undefined) {
    try {
      return { method: 'remap', reason, pause_ms: await saveLive(taking, booted, freezing) };
    } catch (error) {
      reason = freezer.failure();
      const isSame = taking.vm.booted === booted && taking.vm.state === 'Running';
      if (reason === undefined || signal.aborted || !isSame) throw error;
      log.warn(`the RAM was not frozen in QEMU: ${reason}`);
    }
  }
  const against = reasonAgainstTwin(machine) ?? reasonOfDisks(machine, taking.copied);
  if (against !== undefined) return await pauseAndSave(taking, `${against}; ${reason}`);
  const twin = { freezer: undefined, reason: reason ?? '' };
  return { method: 'twin', reason, pause_ms: await saveLive(taking, booted, twin) };
}

/** Returns the reason why a twin cannot copy disks; undefined if it can. */
function reasonOfDisks({ qemu }: Machine, copied: readonly PlannedCopy[]): string | undefined {
  if (copied.length === 0 || canActivateNodes(qemu.qmp)) return undefined;
  return 'QEMU before 10.0 opens disks too late for a copy';
}

interface Taking {
  readonly vmm: VmmState;
  readonly vm: Vm;
  readonly request: VmSnapshotConfig;
  readonly running: RunningOperation;
  /** disks that are copied */
  readonly copied: readonly PlannedCopy[];
}

function savePaused(
  { vmm, vm, ...request }: Taking,
  onWritten: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  return withMachine(vm, ({ machine }) =>
    betweenEvents(vmm, ['snapshotting', 'snapshotted'], () =>
      snapshotVm(vm, machine, { ...request, onWritten }),
    ),
  );
}

/** The way of a snapshot; its disks are the same for each way. */
type Way = Omit<VmSnapshotResult, 'disks'>;

/** Pauses the VM while the RAM is written. Its disks are copied while it runs. */
async function pauseAndSave(taking: Taking, reason: string): Promise<Way> {
  const { vm, vmm } = taking;
  const { booted } = vm;
  const begun = performance.now();
  await withMachine(vm, () => pauseVm(vm, vmm.emit));
  let pauseMs: number | undefined;
  const resume = async (): Promise<void> => {
    // a shutdown of the VM interrupts the operation
    if (pauseMs !== undefined || vm.booted !== booted) return;
    await withMachine(vm, () => resumeVm(vm, vmm.emit));
    pauseMs = Math.ceil(performance.now() - begun);
  };
  try {
    await savePaused(taking, taking.copied.length > 0 ? resume : undefined);
  } finally {
    await resume();
  }
  return { method: 'copy', reason, pause_ms: pauseMs ?? Math.ceil(performance.now() - begun) };
}

/** Lets the VM continue after a short pause, in its QEMU or in another one. @returns the time of the pause, in `milliseconds` */
async function saveLive(
  { vm, vmm, request, running, copied }: Taking,
  booted: BootedMachine,
  freezing: Freezing,
): Promise<number> {
  const isCurrent = (machine: Machine): boolean => vm.booted?.machine === machine;
  let current = booted.machine;
  const setMachine = (machine: Machine): void => {
    current = machine;
    if (isCurrent(machine)) return;
    vm.booted = { ...booted, machine };
    if (machine !== booted.machine) watchInBackground(vmm, vm, machine);
  };
  const onStopped = (): void => {
    vm.change('pause');
    vmm.emit(lifecycleEvent('paused'));
  };
  const live = { vm, booted, request, running, copied, freezing, setMachine, isCurrent, onStopped };
  const pauseMs = await withExitReason(
    () => current.qemu,
    () => betweenEvents(vmm, ['snapshotting', 'snapshotted'], () => snapshotLive(live)),
  );
  return Math.ceil(pauseMs);
}
