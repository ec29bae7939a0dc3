import { ApiError } from '../../api/errors.ts';
import { toApiError } from '../../api/handlers.ts';
import type { VmResize, VmResizeZone } from '../../api/requests.ts';
import { validateVmConfig } from '../../config/decode-vm-config.ts';
import { type VmConfig } from '../../config/vm-config.ts';
import type { Vm } from '../vm.ts';
import { checkBalloon } from './balloon.ts';
import { checkVcpus } from './resize.ts';

/**
 * Resizes the configuration of a VM that is not booted.
 * @throws ApiError `invalid-config` naming the bound; nothing is changed then
 */
export function resizeConfig(vm: Vm, request: VmResize): void {
  const { desired_vcpus: vcpus, desired_ram: ram, desired_balloon: balloon } = request;
  const { cpus, memory } = vm.config;
  if (vcpus !== undefined) checkVcpus(vcpus, vm);
  const config: VmConfig = {
    ...vm.config,
    cpus: { ...cpus, boot_vcpus: vcpus ?? cpus.boot_vcpus },
    memory: { ...memory, size: ram ?? memory.size },
  };
  if (balloon !== undefined) checkBalloon(balloon, { config });
  change(vm, {
    ...config,
    balloon:
      config.balloon === undefined ? undefined : { ...config.balloon, size: balloon ?? config.balloon.size },
  });
}

/**
 * Resizes one memory zone of the configuration.
 * @throws ApiError `invalid-config`
 */
export function resizeZoneOfConfig(vm: Vm, { id, desired_ram: size }: VmResizeZone): void {
  const { memory } = vm.config;
  const { zones = [] } = memory;
  if (!zones.some((zone) => zone.id === id)) {
    throw new ApiError('invalid-config', `id: no memory zone is called "${id}"`);
  }
  const resized = zones.map((zone) => (zone.id === id ? { ...zone, size } : zone));
  change(vm, { ...vm.config, memory: { ...memory, zones: resized } });
}

function change(vm: Vm, config: VmConfig): void {
  try {
    validateVmConfig(config);
  } catch (error) {
    throw toApiError(error);
  }
  vm.config = config;
}
