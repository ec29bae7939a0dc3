import { errorChain } from '../api/errors.ts';
import type { RestoreConfig, VmReceiveMigrationData } from '../api/requests.ts';
import { dialectOf } from '../config/dialect.ts';
import { withoutDevice } from '../config/merge.ts';
import type { VmConfig } from '../config/vm-config.ts';
import type { RunningOperation } from '../util/operation-tracker.ts';
import type { ShutdownSignals } from '../util/shutdown-signals.ts';
import { inBackground } from '../util/background.ts';
import { createLog } from '../util/log.ts';
import { emitRestoring, lifecycleEvent } from './events.ts';
import { handleExit, handlePanic, type ExitActions } from './guest-exit/handle-exit.ts';
import { releaseEjected } from './hotplug/ejected.ts';
import type { Machine } from './machine.ts';
import { receiveVm } from './migration/receive.ts';
import { restoreVm } from './snapshot/restore.ts';
import { sendVm } from './migration/send.ts';
import { followDebugger } from './observe/follow-debugger.ts';
import { watchMachine } from './observe/machine-watch.ts';
import type { Operation } from './operation-queue.ts';
import { checkNoVm } from './operations.ts';
import { bootVm, rebootVm, resumeVm, withMachine } from './power.ts';
import { deleteAndEnd, deleteVm, endVmm } from './shutdown.ts';
import { withNetDescriptors } from './snapshot/restored-nets.ts';
import { Vm } from './vm.ts';
import type { VmmState } from './vmm-state.ts';

/*
 * Operations that make a VM or replace its machine. Each new machine is watched until QEMU exits: `watch` queues operations for its
 * events.
 */

const log = createLog('vm');

/** Serves vm.create. */
export async function createVm(vmm: VmmState, config: VmConfig): Promise<void> {
  checkNoVm(vmm, 'vm.create');
  vmm.vm = Vm.create(config);
}

/** Serves vm.boot: boots a VM without a machine, resumes one that is paused. */
export async function bootOrResume(vmm: VmmState, vm: Vm, running: RunningOperation): Promise<void> {
  const { emit } = vmm;
  if (vm.booted !== undefined) return resumeVm(vm, emit);
  watchInBackground(vmm, vm, await bootVm(vm, { signals: running, emit }));
}

/** Replaces the machine of a VM. With `startsPaused` its vCPUs are stopped before their first instruction. */
export async function reboot(
  vmm: VmmState,
  vm: Vm,
  signals: ShutdownSignals,
  startsPaused: boolean,
): Promise<void> {
  if (vm.booted === undefined) return;
  watchInBackground(vmm, vm, await rebootVm(vm, vm.booted, { signals, emit: vmm.emit, startsPaused }));
}

/** Serves vm.restore. `fds`: file descriptors of networks that were received with the request. */
export async function restore(
  vmm: VmmState,
  request: RestoreConfig,
  fds: readonly number[],
  running: RunningOperation,
): Promise<void> {
  checkNoVm(vmm, 'vm.restore');
  const whole = withNetDescriptors(request, fds);
  const vm = await restoreVm(whole, running, vmm.emit);
  await adopt(vmm, vm);
  if (request.resume) await resumeVm(vm, vmm.emit);
}

/** Serves vm.receive-migration. */
export async function receive(
  vmm: VmmState,
  { receiver_url: url }: VmReceiveMigrationData,
  running: RunningOperation,
): Promise<void> {
  checkNoVm(vmm, 'vm.receive-migration');
  const vm = await receiveVm(url, running, vmm.emit);
  await adopt(vmm, vm);
  await resumeVm(vm, vmm.emit);
}

/** Makes a restored or received VM the VM of the VMM, and watches its machine. */
async function adopt(vmm: VmmState, vm: Vm): Promise<void> {
  vmm.vm = vm;
  if (vm.booted !== undefined) await watch(vmm, vm, vm.booted.machine);
  emitRestoring(vmm.emit, vm.config, 'after activated');
  vmm.emit(lifecycleEvent('restored'));
}

/** Serves vm.send-migration. */
export async function send(vmm: VmmState, vm: Vm, url: string, running: RunningOperation): Promise<void> {
  await withMachine(vm, ({ machine }) => sendVm(vm, machine, { url, running, emit: vmm.emit }));
  if (!dialectOf(vm.config).endsAfterSending) return;
  log.info('the VM was sent: this VMM exits');
  const end = (problem?: string): void => {
    if (running.tracker.isTracked) setTimeout(() => endVmm(vmm, problem), RESULT_MS);
    else endVmm(vmm, problem);
  };
  await deleteVm(vmm, vm).then(
    () => end(),
    (error: unknown) => end(errorChain(error).join(': ')),
  );
}

/** Time for which a VMM whose VM was sent still answers the client of the operation, in milliseconds. */
const RESULT_MS = 1000;

/** Watches a machine, without a wait for its first events. */
export function watchInBackground(vmm: VmmState, vm: Vm, machine: Machine): void {
  inBackground('events of the machine', watch(vmm, vm, machine));
}

/**
 * Watches a machine until QEMU exits. Its events are handled between operations, and only while it is the VM's machine. Resolves once
 * `activated` is emitted for the devices that have a driver already.
 */
function watch(vmm: VmmState, vm: Vm, machine: Machine): Promise<void> {
  const whileCurrent = (act: Operation<void>): void => {
    const isCurrent = (): boolean => vm.booted?.machine === machine;
    vmm.queue
      .run(async (signals) => (isCurrent() ? act(signals) : undefined))
      .catch((error: unknown) => log[isCurrent() ? 'error' : 'debug'](errorChain(error).join(': ')));
  };
  const actions = exitActions(vmm);
  machine.qemu.onEvent(({ event }) => {
    if (vm.config.gdb === true && vm.booted?.machine === machine) followDebugger(vm, event);
  });
  const onExit = machine.qemu.ended.then((end) =>
    whileCurrent((signals) =>
      handleExit(actions, vm, { ...end, guestFailure: machine.guestFailure }, signals),
    ),
  );
  inBackground('exit of QEMU', onExit);
  return watchMachine(machine, {
    emit: vmm.emit,
    watchesDrivers: vmm.options.watchesDrivers(),
    onEjected: () => whileCurrent(() => releaseEjected(machine)),
    removeFromConfig: ({ device, id }) => {
      if (device.removable) vm.config = withoutDevice(vm.config, device, id);
    },
    onPanic: vmm.options.onPanic && (() => whileCurrent((signals) => handlePanic(actions, vm, signals))),
  });
}

function exitActions(vmm: VmmState): ExitActions {
  return {
    policies: vmm.options,
    emit: vmm.emit,
    exit: (vm, problem) => deleteAndEnd(vmm, vm, problem),
    restart: (vm, signals, startsPaused) => reboot(vmm, vm, signals, startsPaused),
  };
}
