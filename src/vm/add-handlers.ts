import type { PciDeviceInfo } from '../api/replies.ts';
import type { Handlers } from '../api/handlers.ts';
import type { RouteName } from '../api/routes.ts';
import type { AnyConfig, Device } from '../devices/device.ts';
import { disk } from '../devices/disk/index.ts';
import { fs } from '../devices/fs/index.ts';
import type { NetConfig } from '../devices/net/config.ts';
import { net } from '../devices/net/index.ts';
import { pmem } from '../devices/pmem/index.ts';
import { vfio } from '../devices/vfio/index.ts';
import { vsock } from '../devices/vsock/index.ts';
import { createLog } from '../util/log.ts';
import { addDevice } from './hotplug/add.ts';
import { runOnVm, runOperation, vmFor } from './operations.ts';
import { withDescriptors } from './received-descriptors.ts';
import type { VmmState } from './vmm-state.ts';

const log = createLog('vm');

type AddHandlers = Pick<
  Handlers,
  'vm.add-device' | 'vm.add-disk' | 'vm.add-fs' | 'vm.add-net' | 'vm.add-pmem' | 'vm.add-vsock'
>;

/** Returns the handlers that attach a device to the VM, one a kind. */
export function addHandlers(vmm: VmmState): AddHandlers {
  return {
    'vm.add-device': (config) => add(vmm, 'vm.add-device', vfio, config),
    'vm.add-disk': (config) => add(vmm, 'vm.add-disk', disk, config),
    'vm.add-fs': (config) => add(vmm, 'vm.add-fs', fs, config),
    'vm.add-net': (config, files) => addNet(vmm, config, files?.take() ?? []),
    'vm.add-pmem': (config) => add(vmm, 'vm.add-pmem', pmem, config),
    'vm.add-vsock': (config) => add(vmm, 'vm.add-vsock', vsock, config),
  };
}

function add(
  vmm: VmmState,
  route: RouteName,
  device: Device,
  config: AnyConfig,
): Promise<PciDeviceInfo | undefined> {
  return runOnVm(vmm, route, (vm, signals) => addDevice(vm, device, config, signals));
}

/** Attaches a network, whose TAP may have come as file descriptors with the request. */
function addNet(
  vmm: VmmState,
  config: NetConfig,
  fds: readonly number[],
): Promise<PciDeviceInfo | undefined> {
  return runOperation(vmm, (signals) => {
    vmm.received.add(fds);
    log.info('vm.add-net');
    return addDevice(vmFor(vmm, 'vm.add-net'), net, withDescriptors(config, fds), signals);
  });
}
