import { VmConfig } from '../config/vm-config.ts';
import { VmCounters, VmInfo, VmmPingResponse, VmmUsage, VmSnapshotResult } from './replies.ts';
import {
  RestoreConfig,
  VmReceiveMigrationData,
  VmCoredumpData,
  VmRemoveDevice,
  VmResize,
  VmResizeDisk,
  VmResizeZone,
  VmSendMigrationData,
  VmSnapshotConfig,
} from './requests.ts';
import { OperationId, OperationInfo, OperationList } from './operations.ts';
import type { RouteDefinition } from './route.ts';
import { addRoutes, type AddRoutes } from './add-routes.ts';
import { action, ALWAYS, BOOTED, change, query, WITH_VM, WITHOUT_VM, type Texts } from './route-kinds.ts';

/** Routes before those of devices in the contract's document. */
const FIRST = {
  'vmm.ping': query({
    summary: 'Ping the VMM to check for API server availability',
    body: 'ignored',
    reply: VmmPingResponse,
    answers: { 200: 'The VMM information' },
    phases: ALWAYS,
  }),
  'vmm.shutdown': action({
    summary: 'Shuts the cloud-hypervisor VMM.',
    operationId: 'shutdownVMM',
    body: 'ignored',
    answers: { 204: 'The VMM successfully shutdown.' },
    phases: ALWAYS,
  }),
  'vm.info': query({
    summary: 'Returns general information about the cloud-hypervisor Virtual Machine (VM) instance.',
    body: 'ignored',
    reply: VmInfo,
    answers: { 200: 'The VM information' },
    phases: WITH_VM,
  }),
  'vm.counters': query({
    summary: 'Get counters from the VM',
    body: 'refused',
    reply: VmCounters,
    answers: { 200: 'The VM counters' },
    phases: BOOTED,
  }),
  'vm.create': {
    method: 'PUT',
    body: 'required',
    summary:
      'Create the cloud-hypervisor Virtual Machine (VM) instance. The instance is not booted, only created.',
    operationId: 'createVM',
    request: VmConfig,
    requestDoc: 'The VM configuration',
    reply: undefined,
    answers: { 204: 'The VM instance was successfully created.' },
    phases: WITHOUT_VM,
    implemented: true,
  } satisfies RouteDefinition,
  'vm.delete': action({
    summary: 'Delete the cloud-hypervisor Virtual Machine (VM) instance.',
    operationId: 'deleteVM',
    answers: { 204: 'The VM instance was successfully deleted.' },
    phases: WITH_VM,
  }),
  'vm.boot': action({
    summary: 'Boot the previously created VM instance.',
    operationId: 'bootVM',
    asynchronous: true,
    answers: {
      204: 'The VM instance successfully booted.',
      404: 'The VM instance could not boot because it is not created yet',
    },
    // a paused VM is resumed, as by Cloud Hypervisor
    phases: ['Created', 'Shutdown', 'Paused'],
  }),
  'vm.pause': action({
    summary: 'Pause a previously booted VM instance.',
    operationId: 'pauseVM',
    answers: {
      204: 'The VM instance successfully paused.',
      404: 'The VM instance could not pause because it is not created yet',
      405: 'The VM instance could not pause because it is not booted.',
    },
    phases: ['Running'],
  }),
  'vm.resume': action({
    summary: 'Resume a previously paused VM instance.',
    operationId: 'resumeVM',
    answers: {
      204: 'The VM instance successfully paused.',
      404: 'The VM instance could not resume because it is not booted yet',
      405: 'The VM instance could not resume because it is not paused.',
    },
    phases: ['Paused'],
    // the document distinguishes "not booted yet" (404) and "not paused" (405)
    refusals: { Created: 'no-vm', Shutdown: 'no-vm' },
  }),
  'vm.shutdown': action({
    summary: 'Shut the VM instance down.',
    operationId: 'shutdownVM',
    answers: {
      204: 'The VM instance successfully shut down.',
      404: 'The VM instance could not shut down because is not created.',
      405: 'The VM instance could not shut down because it is not started.',
    },
    phases: BOOTED,
  }),
  'vm.reboot': action({
    summary: 'Reboot the VM instance.',
    operationId: 'rebootVM',
    answers: {
      204: 'The VM instance successfully rebooted.',
      404: 'The VM instance could not reboot because it is not created.',
      405: 'The VM instance could not reboot because it is not booted.',
    },
    phases: BOOTED,
  }),
  'vm.power-button': action({
    summary: 'Trigger a power button in the VM',
    operationId: 'power-buttonVM',
    answers: {
      204: 'Power button successfully triggered in the VM',
      404: 'The button could not be triggered because it is not created yet',
      405: 'The button could not be triggered because it is not booted.',
    },
    phases: BOOTED,
  }),
  'vm.resize': change(VmResize, 'The target size for the VM', {
    summary: 'Resize the VM',
    asynchronous: true,
    answers: {
      204: 'The VM instance was successfully resized.',
      404: 'The VM instance could not be resized because it is not created.',
    },
    furtherAnswers: { 429: 'The guest has not released the vCPUs that were removed before: try again.' },
    phases: BOOTED,
    phasesOfConfig: WITH_VM,
  }),
  'vm.resize-zone': change(VmResizeZone, 'The target size for the memory zone', {
    summary: 'Resize a memory zone',
    asynchronous: true,
    answers: {
      204: 'The memory zone was successfully resized.',
      500: 'The memory zone could not be resized.',
    },
    phases: BOOTED,
    phasesOfConfig: WITH_VM,
  }),
} as const;

/** Position of `vm.remove-device` among the add requests (`DeviceOrder.route`). */
const REMOVE_POSITION = 20;
const REMOVE = {
  'vm.remove-device': change(VmRemoveDevice, 'The identifier of the device', {
    summary: 'Remove a device from the VM',
    asynchronous: true,
    answers: {
      204: 'The device was successfully removed from the VM instance.',
      404: 'The device could not be removed from the VM instance.',
    },
    phases: WITH_VM,
  }),
} as const;

const NO_OPERATION = 'No operation has this id.';

const SNAPSHOT: Texts = {
  summary: 'Returns a VM snapshot.',
  asynchronous: true,
  answers: {
    204: 'The VM instance was successfully snapshotted.',
    404: 'The VM instance could not be snapshotted because it is not created.',
    405: 'The VM instance could not be snapshotted because it is not booted.',
  },
  phases: ['Paused'],
  phasesOfLive: BOOTED,
  furtherAnswers: { 200: 'The request had `live`: the way that the snapshot took.' },
};

/** Routes after those of devices. */
const LAST = {
  'vm.snapshot': {
    ...change(VmSnapshotConfig, 'The snapshot configuration', SNAPSHOT),
    reply: VmSnapshotResult,
    replyBeyond: true,
  },
  'vm.restore': change(RestoreConfig, 'The restore configuration', {
    summary: 'Restore a VM from a snapshot.',
    asynchronous: true,
    answers: {
      204: 'The VM instance was successfully restored.',
      404: 'The VM instance could not be restored because it is already created.',
    },
    phases: WITHOUT_VM,
    refusals: { Created: 'no-vm', Running: 'no-vm', Paused: 'no-vm', Shutdown: 'no-vm' },
  }),
  'vm.nmi': nmi(),
  // name of the endpoint in the documents of some versions
  'vmm.nmi': nmi(),
  'vm.receive-migration': change(VmReceiveMigrationData, 'Destination of the migration', {
    summary: 'Receive a VM from another VMM',
    asynchronous: true,
    answers: { 204: 'The VM was received and runs.' },
    phases: WITHOUT_VM,
    beyond: true,
  }),
  'vm.send-migration': change(VmSendMigrationData, 'Source of the migration', {
    summary: 'Send the VM to another VMM',
    asynchronous: true,
    answers: { 204: 'The VM was sent and runs at the destination; here it is Paused.' },
    phases: ['Running'],
    beyond: true,
  }),
  'vm.resize-disk': change(VmResizeDisk, 'The target size for the disk', {
    summary: 'Resize a disk',
    asynchronous: true,
    answers: { 204: 'The disk was successfully resized.', 404: 'There is no VM, or no such disk.' },
    phases: BOOTED,
    beyond: true,
  }),
  'vm.coredump': change(VmCoredumpData, 'The destination of the core dump', {
    summary: 'Takes a VM coredump.',
    asynchronous: true,
    answers: { 204: 'The VM instance was successfully coredumped.' },
    phases: BOOTED,
    beyond: true,
  }),
  'vmm.usage': query({
    summary: 'Get the CPU time and memory that the VMM and QEMU use',
    body: 'refused',
    reply: VmmUsage,
    answers: { 200: 'The use of the host; without QEMU if the VM is not booted' },
    phases: ALWAYS,
    beyond: true,
  }),
  'vmm.operations': query({
    summary: 'List the requests that are served asynchronously',
    body: 'ignored',
    reply: OperationList,
    answers: { 200: 'The operations' },
    phases: ALWAYS,
    beyond: true,
  }),
  'vmm.operation': {
    ...query({
      summary: 'Return a request that is served asynchronously',
      path: 'vmm.operations/{id}',
      body: 'ignored',
      reply: OperationInfo,
      answers: { 200: 'The operation', 404: NO_OPERATION },
      phases: ALWAYS,
      beyond: true,
    }),
    request: OperationId,
  },
  'vmm.cancel-operation': {
    ...query({
      summary: 'Cancel a request that is served asynchronously, and wait for its end',
      path: 'vmm.operations/{id}',
      body: 'ignored',
      reply: OperationInfo,
      answers: {
        200: 'The operation has ended; its state tells whether it was cancelled.',
        404: NO_OPERATION,
      },
      furtherAnswers: { 409: 'The operation cannot be cancelled any more.' },
      phases: ALWAYS,
      beyond: true,
    }),
    method: 'DELETE',
    request: OperationId,
  },
} as const;

type Routes = typeof FIRST & typeof REMOVE & AddRoutes & typeof LAST;

/**
 * Every endpoint: the documented ones in the order of the contract's document, then those of current versions. Summaries,
 * operation ids and status texts are those of the contract's document, so that the served document equals it.
 */
export const ROUTES = inOrder();

function inOrder(): Routes {
  const adds = addRoutes();
  const documented = [
    ...adds.filter(({ route }) => route.beyond !== true),
    ...Object.entries(REMOVE).map(([name, route]) => ({ name, position: REMOVE_POSITION, route })),
  ].toSorted((a, b) => a.position - b.position);
  const beyond = adds.filter(({ route }) => route.beyond === true);
  const named = (list: typeof adds) => Object.fromEntries(list.map(({ name, route }) => [name, route]));
  // the types of the add requests are those of the table of devices
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return { ...FIRST, ...named(documented), ...LAST, ...named(beyond) } as unknown as Routes;
}

/** Name of an endpoint: its path below `/api/v1/`. */
export type RouteName = keyof typeof ROUTES;

function nmi(): RouteDefinition<undefined, undefined, true> {
  return action({
    summary: 'Inject an NMI.',
    answers: { 204: 'The NMI was injected.' },
    phases: ['Running'],
    beyond: true,
  });
}
