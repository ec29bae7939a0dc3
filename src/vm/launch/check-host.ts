import { ApiError } from '../../api/errors.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { takenMemory, zonesOf } from '../../devices/memory/zones.ts';
import type { Accelerator } from '../../host/system/accelerator.ts';
import { checkBacking } from '../../host/memory/ram-backing.ts';
import { checkHostMemory } from '../../host/memory/ram-fit.ts';
import { checkSgx } from '../../host/system/sgx.ts';
import { failingAs } from './failing-as.ts';

/**
 * Checks that the host has the resources of a configuration that QEMU does not check: processor features, files and space for RAM, SGX.
 * vm.boot does this, vm.create does not. Rejects with ApiError `failed`.
 */
export async function checkHost(config: VmConfig, { name: accelerator }: Accelerator): Promise<void> {
  checkAccelerator(config, accelerator);
  for (const zone of zonesOf(config.memory)) await failingAs(`memory zone ${zone.id}`, checkBacking(zone));
  await failingAs('memory', checkHostMemory(takenMemory(config.memory)));
  for (const { id } of config.sgx_epc ?? []) {
    await failingAs(`sgx_epc ${id}`, checkSgx(accelerator));
  }
}

/** Checks features that need the host's processor: with emulation QEMU would ignore them without a message. */
function checkAccelerator({ cpus }: VmConfig, accelerator: Accelerator['name']): void {
  if (accelerator === 'kvm') return;
  const needsKvm = [
    ...(cpus.kvm_hyperv ? ['cpus.kvm_hyperv'] : []),
    ...(cpus.features?.amx === true ? ['cpus.features.amx'] : []),
  ];
  if (needsKvm.length === 0) return;
  throw new ApiError('failed', `${needsKvm.join(', ')}: needs KVM, the machine would run on ${accelerator}`);
}
