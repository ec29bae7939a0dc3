import type { Handlers } from '../api/handlers.ts';
import type { VmResize, VmResizeZone } from '../api/requests.ts';
import type { RunningOperation } from '../util/operation-tracker.ts';
import type { ShutdownSignals } from '../util/shutdown-signals.ts';
import { addHandlers } from './add-handlers.ts';
import { dumpCore } from './coredump.ts';
import { removeAndWait } from './hotplug/remove-and-wait.ts';
import { bootOrResume, createVm, reboot, receive, restore, send } from './lifecycle.ts';
import { countersOfVm } from './observe/counters.ts';
import { vmInfo } from './observe/info.ts';
import { usageOf } from './observe/usage.ts';
import { betweenEvents, runOnVm, runOperation, vmFor } from './operations.ts';
import { injectNmi, pauseVm, pressPowerButton, resumeVm, withMachine } from './power.ts';
import { resizeConfig, resizeZoneOfConfig } from './resize/config.ts';
import { resizeDisk } from './resize/disk.ts';
import { resizeZone } from './resize/ram.ts';
import { resizeVm } from './resize/resize.ts';
import { requestDelete, shutDownVm, shutDownVmm } from './shutdown.ts';
import { composeAfter } from './snapshot/compose-after.ts';
import { checkDisks, takeSnapshot } from './take-snapshot.ts';
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
    ...operationHandlers(vmm),
    'vm.remove-device': ({ id }, _files, client) => removeAndWait(vmm, id, client),
  };
}

function vmmHandlers(vmm: VmmState) {
  const { version, buildVersion } = vmm.options;
  return {
    'vmm.ping': async () => ({ version, build_version: buildVersion, pid: process.pid, features: [] }),
    'vmm.shutdown': () => shutDownVmm(vmm),
    'vmm.usage': () => usageOf(vmm),
    'vm.info': async () => vmInfo(vmFor(vmm, 'vm.info')),
    'vm.counters': async () => countersOfVm(vmFor(vmm, 'vm.counters')),
  } satisfies Partial<Handlers>;
}

function operationHandlers({ registry }: VmmState) {
  return {
    'vmm.operations': async () => [...registry.list()],
    'vmm.operation': async ({ id }) => registry.get(id),
    'vmm.cancel-operation': ({ id }) => registry.cancel(id),
  } satisfies Partial<Handlers>;
}

function lifecycleHandlers(vmm: VmmState) {
  const { emit } = vmm;
  return {
    'vm.create': (config) => runOperation(vmm, () => createVm(vmm, config)),
    'vm.boot': (_request, _files, client) =>
      runOnVm(vmm, 'vm.boot', (vm, running) => bootOrResume(vmm, vm, running), { client }),
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
    'vm.snapshot': async (request, _files, client) => {
      checkDisks(request);
      const act = (vm: Vm, running: RunningOperation) => takeSnapshot(vmm, vm, request, running);
      const result = await runOnVm(vmm, 'vm.snapshot', act, { client, live: request.live });
      // the next operation need not wait for it
      if (request.compose && request.snapshot_type === 'diff') await composeAfter(vmm, request, client);
      return result;
    },
    'vm.restore': (request, files, client) => {
      const fds = files?.take() ?? [];
      return runOperation(vmm, (running) => restore(vmm, request, fds, running), { fds, client });
    },
    'vm.coredump': ({ destination_url: url }, _files, client) => {
      const act = (vm: Vm, running: RunningOperation): Promise<void> =>
        withMachine(vm, (booted) =>
          betweenEvents(vmm, ['coredumping', 'coredumped'], () => dumpCore(booted, url, running)),
        );
      return runOnVm(vmm, 'vm.coredump', act, { client });
    },
    'vm.send-migration': ({ destination_url: url }, _files, client) =>
      runOnVm(vmm, 'vm.send-migration', (vm, running) => send(vmm, vm, url, running), { client }),
    'vm.receive-migration': (request, _files, client) =>
      runOperation(vmm, (running) => receive(vmm, request, running), { client }),
  } satisfies Partial<Handlers>;
}

function resizeHandlers(vmm: VmmState) {
  return {
    'vm.resize': (sizes, _files, client) =>
      runOnVm(vmm, 'vm.resize', (vm, running) => resizeEither(vmm, vm, sizes, running), { client }),
    'vm.resize-zone': (request, _files, client) =>
      runOnVm(vmm, 'vm.resize-zone', (vm) => resizeZoneEither(vm, request), { client }),
    'vm.resize-disk': (request, _files, client) => {
      const act = (vm: Vm): Promise<void> => withMachine(vm, ({ machine }) => resizeDisk(machine, request));
      return runOnVm(vmm, 'vm.resize-disk', act, { client });
    },
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
