import type { AddRouteName } from '../api/add-routes.ts';
import type { Handlers, ImplementedRoute } from '../api/handlers.ts';
import type { PciDeviceInfo } from '../api/replies.ts';
import type { ClientOperation, ReceivedFiles } from '../api/route.ts';
import type { AnyConfig } from '../devices/device.ts';
import { DEVICES } from '../devices/table.ts';
import type { ShutdownSignals } from '../util/shutdown-signals.ts';
import { addDevice } from './hotplug/add.ts';
import { runOnVm } from './operations.ts';
import { withDescriptors } from './received-descriptors.ts';
import type { Vm } from './vm.ts';
import type { VmmState } from './vmm-state.ts';

type AddHandlers = Pick<Handlers, AddRouteName & ImplementedRoute>;

/** Returns the handlers that attach a device to the VM, one for each kind with an add request. */
export function addHandlers(vmm: VmmState): AddHandlers {
  // `DEVICES` has no static type for each route, but the routes derive from the same table
  const handlers = DEVICES.flatMap((device) => {
    const { hotAdd } = device;
    if (hotAdd === undefined || hotAdd.unsupported !== undefined) return [];
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const route = hotAdd.route as AddRouteName;
    const handle = (
      config: AnyConfig,
      files?: ReceivedFiles,
      client?: ClientOperation,
    ): Promise<PciDeviceInfo | undefined> => {
      const fds = hotAdd.descriptors === undefined ? [] : (files?.take() ?? []);
      const add = (vm: Vm, signals: ShutdownSignals) =>
        addDevice(vm, device, withDescriptors(device, config, fds), signals);
      return runOnVm(vmm, route, add, { fds, client });
    };
    return [[route, handle] as const];
  });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return Object.fromEntries(handlers) as unknown as AddHandlers;
}
