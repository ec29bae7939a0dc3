// The ways of three requests through the layers, as docs/architecture.md shows them. Each call is an import that exists, which
// `npm run check` verifies: a file that is renamed, or no longer calls another, has its line here.

export interface Call {
  /** files below src/ */
  readonly from: string;
  readonly to: string;
  readonly what: string;
  /** the file that imports both and passes one to the other, where `from` does not import `to` */
  readonly passedBy?: string;
}

export interface Way {
  readonly name: string;
  readonly calls: readonly Call[];
}

type Step = readonly [from: string, to: string, what: string, passedBy?: string];

function way(name: string, steps: readonly Step[]): Way {
  return {
    name,
    calls: steps.map(([from, to, what, passedBy]) => ({
      from,
      to,
      what,
      ...(passedBy === undefined ? {} : { passedBy }),
    })),
  };
}

/** From the socket to the handler: the same for each request. */
const ARRIVAL: readonly Step[] = [
  ['http/server.ts', 'api/handlers.ts', 'decode the body, check the state', 'cli/listeners.ts'],
  ['api/handlers.ts', 'vm/handlers.ts', 'call the handler', 'vm/vmm.ts'],
  ['vm/handlers.ts', 'vm/operations.ts', 'queue the operation, check the state again'],
];

/** From a recipe to the running QEMU: the same for a boot and a restore. */
function launch(recipe: string): Step[] {
  return [
    [recipe, 'vm/launch/machine-start.ts', 'own what the start makes, release it after a failure'],
    ['vm/launch/machine-start.ts', 'vm/devices/preparations.ts', 'own the host resources of each device'],
    [recipe, 'vm/consoles.ts', 'open the consoles'],
    [recipe, 'vm/launch/prepare-host.ts', 'open boot files, prepare images, TAPs and sockets'],
    [recipe, 'vm/launch/planned-machine.ts', 'plan the machine'],
    ['vm/launch/planned-machine.ts', 'plan/machine-plan.ts', 'make the MachinePlan'],
    [recipe, 'vm/launch/start-machine.ts', 'start QEMU with stopped vCPUs'],
    ['vm/launch/start-machine.ts', 'qemu/process/qemu.ts', 'spawn QEMU'],
    ['qemu/process/qemu.ts', 'qemu/process/arguments.ts', 'render the plan as arguments'],
    ['qemu/process/qemu.ts', 'qemu/qmp/connection.ts', 'connect QMP'],
  ];
}

export const WAYS: readonly Way[] = [
  way('vm.boot', [
    ...ARRIVAL,
    ['vm/handlers.ts', 'vm/lifecycle.ts', 'boot, or resume a paused VM'],
    ['vm/lifecycle.ts', 'vm/power.ts', 'boot'],
    ['vm/power.ts', 'vm/launch/boot.ts', 'follow the recipe of a boot'],
    ['vm/launch/boot.ts', 'plan/placement.ts', 'assign ids and PCI slots'],
    ...launch('vm/launch/boot.ts'),
    ['vm/launch/boot.ts', 'vm/launch/activate.ts', 'start the vCPUs'],
    ['vm/lifecycle.ts', 'vm/observe/machine-watch.ts', 'watch the machine until QEMU exits'],
  ]),
  way('vm.add-disk', [
    ...ARRIVAL,
    ['vm/handlers.ts', 'vm/add-handlers.ts', 'find the device in the table'],
    ['vm/add-handlers.ts', 'vm/hotplug/add.ts', 'attach the disk'],
    ['vm/hotplug/add.ts', 'config/decode-vm-config.ts', 'check the grown configuration'],
    ['vm/hotplug/add.ts', 'plan/placement.ts', 'assign an id and a PCI slot'],
    ['vm/hotplug/add.ts', 'plan/machine-plan.ts', 'plan the steps of the disk'],
    ['vm/hotplug/add.ts', 'qemu/qmp/steps.ts', 'perform the steps over QMP'],
  ]),
  way('vm.restore', [
    ...ARRIVAL,
    ['vm/handlers.ts', 'vm/lifecycle.ts', 'restore'],
    ['vm/lifecycle.ts', 'vm/snapshot/restore.ts', 'follow the recipe of a restore'],
    ['vm/snapshot/restore.ts', 'vm/snapshot/read-snapshot.ts', 'read and check the snapshot'],
    ['vm/snapshot/restore.ts', 'vm/machine-state/restored-layout.ts', 'keep ids and PCI slots'],
    ...launch('vm/snapshot/restore.ts'),
    ['vm/snapshot/restore.ts', 'vm/snapshot/load-snapshot.ts', 'load the snapshot'],
    ['vm/snapshot/load-snapshot.ts', 'vm/snapshot/restore-memory.ts', 'map or fill the RAM'],
    ['vm/snapshot/load-snapshot.ts', 'qemu/qmp/device-state.ts', 'load the device state'],
    ['vm/snapshot/load-snapshot.ts', 'vm/machine-state/images.ts', 'lock the images'],
    ['vm/snapshot/restore.ts', 'vm/launch/activate.ts', 'complete the start'],
  ]),
];
