import type { Handlers } from '../api/handlers.ts';
import type { VmResize, VmResizeZone } from '../api/requests.ts';
import type { ShutdownSignals } from '../util/shutdown-signals.ts';
import { addHandlers } from './add-handlers.ts';
import { dumpCore } from './coredump.ts';
import { removeDevice } from './hotplug/remove.ts';
import { bootOrResume, createVm, reboot, receive, restore, send } from './lifecycle.ts';
import { countersOfVm } from './observe/counters.ts';
import { vmInfo } from './observe/info.ts';
import { betweenEvents, runOnVm, runOperation, vmFor } from './operations.ts';
import { injectNmi, pauseVm, pressPowerButton, resumeVm, withMachine } from './power.ts';
import { resizeConfig, resizeZoneOfConfig } from './resize/config.ts';
import { resizeDisk } from './resize/disk.ts';
import { resizeZone } from './resize/ram.ts';
import { resizeVm } from './resize/resize.ts';
import { requestDelete, shutDownVm, shutDownVmm } from './shutdown.ts';
import { snapshotVm } from './snapshot/save.ts';
import type { Vm } from './vm.ts';
import type { VmmState } from './vmm-state.ts';

/**
 * Returns the handlers of the API, one an endpoint. vmm.ping, vm.info and vm.counters answer at once; all others are operations in the
 * queue.
 */
export function createHandlers(vmm: VmmState): Handlers {
  return {
    ...vmmHandlers(vmm),
    ...lifecycleHandlers(vmm),
    ...stateHandlers(vmm),
    ...resizeHandlers(vmm),
    ...addHandlers(vmm),
    'vm.remove-device': ({ id }) =>
      runOnVm(vmm, 'vm.remove-device', (vm, signals) => removeDevice(vm, id, signals)),
  };
}

function vmmHandlers(vmm: VmmState) {
  const { version, buildVersion } = vmm.options;
  return {
    'vmm.ping': async () => ({ version, build_version: buildVersion, pid: process.pid, features: [] }),
    'vmm.shutdown': () => shutDownVmm(vmm),
    'vm.info': async () => vmInfo(vmFor(vmm, 'vm.info')),
    'vm.counters': async () => countersOfVm(vmFor(vmm, 'vm.counters')),
  } satisfies Partial<Handlers>;
}

function lifecycleHandlers(vmm: VmmState) {
  const { emit } = vmm;
  return {
    'vm.create': (config) => runOperation(vmm, () => createVm(vmm, config)),
    'vm.boot': () => runOnVm(vmm, 'vm.boot', (vm, signals) => bootOrResume(vmm, vm, signals)),
    'vm.pause': () => runOnVm(vmm, 'vm.pause', (vm) => pauseVm(vm, emit)),
    'vm.resume': () => runOnVm(vmm, 'vm.resume', (vm) => resumeVm(vm, emit)),
    'vm.reboot': () => runOnVm(vmm, 'vm.reboot', (vm, signals) => reboot(vmm, vm, signals, false)),
    'vm.nmi': () => runOnVm(vmm, 'vm.nmi', injectNmi),
    'vmm.nmi': () => runOnVm(vmm, 'vmm.nmi', injectNmi),
    'vm.power-button': () => runOnVm(vmm, 'vm.power-button', pressPowerButton),
    'vm.shutdown': () => shutDownVm(vmm),
    'vm.delete': () => requestDelete(vmm),
  } satisfies Partial<Handlers>;
}

function stateHandlers(vmm: VmmState) {
  return {
    'vm.snapshot': (request) =>
      runOnVm(vmm, 'vm.snapshot', (vm, signals) =>
        withMachine(vm, ({ machine }) =>
          betweenEvents(vmm, ['snapshotting', 'snapshotted'], () =>
            snapshotVm(vm, machine, request, signals),
          ),
        ),
      ),
    'vm.restore': (request, files) =>
      runOperation(vmm, (signals) => restore(vmm, request, files?.take() ?? [], signals)),
    'vm.coredump': ({ destination_url: url }) =>
      runOnVm(vmm, 'vm.coredump', (vm) =>
        withMachine(vm, (booted) =>
          betweenEvents(vmm, ['coredumping', 'coredumped'], () => dumpCore(booted, url)),
        ),
      ),
    'vm.send-migration': ({ destination_url: url }) =>
      runOnVm(vmm, 'vm.send-migration', (vm, signals) => send(vmm, vm, url, signals)),
    'vm.receive-migration': (request) => runOperation(vmm, (signals) => receive(vmm, request, signals)),
  } satisfies Partial<Handlers>;
}

function resizeHandlers(vmm: VmmState) {
  return {
    'vm.resize': (sizes) => runOnVm(vmm, 'vm.resize', (vm, signals) => resizeEither(vmm, vm, sizes, signals)),
    'vm.resize-zone': (request) => runOnVm(vmm, 'vm.resize-zone', (vm) => resizeZoneEither(vm, request)),
    'vm.resize-disk': (request) =>
      runOnVm(vmm, 'vm.resize-disk', (vm) => withMachine(vm, ({ machine }) => resizeDisk(machine, request))),
  } satisfies Partial<Handlers>;
}

/** Resizes the machine of a booted VM, the configuration of any other. */
async function resizeEither(
  vmm: VmmState,
  vm: Vm,
  sizes: VmResize,
  { waits }: ShutdownSignals,
): Promise<void> {
  if (vm.booted === undefined) return resizeConfig(vm, sizes);
  await withMachine(vm, (booted) =>
    betweenEvents(vmm, ['resizing', 'resized'], () => resizeVm(vm, { ...booted, waits }, sizes)),
  );
}

async function resizeZoneEither(vm: Vm, request: VmResizeZone): Promise<void> {
  if (vm.booted === undefined) return resizeZoneOfConfig(vm, request);
  await withMachine(vm, (booted) => resizeZone(vm, booted, request));
}
