import { ApiError } from '../../api/errors.ts';
import type { VmResizeZone } from '../../api/requests.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import type { MemoryConfig, MemoryZoneConfig } from '../../devices/memory/config.ts';
import { virtioMems, type VirtioMemPlace } from '../../plan/memory-steps.ts';
import type { BootedMachine, Vm } from '../vm.ts';
import { addDimm, checkDimm } from './dimm.ts';
import { VIRTIO_MEM_BLOCK } from '../../devices/virtio-mem/plan.ts';

/** Checks the size of RAM. @throws ApiError `invalid-config` naming the bound */
export function checkRam(desired: number, { config }: Vm, { machine }: BootedMachine): void {
  const { memory } = config;
  if (memory.size === 0) {
    throw refusal('desired_ram', 'the RAM of this VM is in zones: vm.resize-zone changes one');
  }
  if (memory.hotplug_method === 'Acpi') checkDimm(desired, memory, machine);
  else checkGrowth('desired_ram', desired, { ...memory, id: '' });
}

/** Resizes the guest's RAM. Returns the configuration with the new size. */
export async function resizeRam(
  desired: number,
  { config }: Vm,
  { machine }: BootedMachine,
): Promise<VmConfig> {
  const { memory } = config;
  if (memory.hotplug_method === 'Acpi') {
    await addDimm(desired, config, machine);
    return { ...config, memory: { ...memory, size: desired } };
  }
  const more = desired - memory.size;
  const [place] = virtioMems(machine.layout.placements);
  if (place !== undefined) await request(machine.qemu.qmp, place, more);
  return { ...config, memory: { ...memory, hotplugged_size: more === 0 ? undefined : more } };
}

/** Resizes a memory zone: its size at the start and that of its virtio-mem device together. */
export async function resizeZone(
  vm: Vm,
  { machine }: BootedMachine,
  { id, desired_ram: desired }: VmResizeZone,
): Promise<void> {
  const { memory } = vm.config;
  const zone = memory.zones?.find((one) => one.id === id);
  if (zone === undefined) throw refusal('id', `no memory zone is called "${id}"`);
  checkGrowth('desired_ram', desired, zone);
  const place = virtioMems(machine.layout.placements).find((one) => one.zone.id === id);
  if (place === undefined)
    throw refusal('id', `zone "${id}" cannot grow: it was booted without hotplug_size`);
  const more = desired - zone.size;
  await request(machine.qemu.qmp, place, more);
  vm.config = { ...vm.config, memory: withHotplugged(memory, zone, more) };
}

function withHotplugged(memory: MemoryConfig, zone: MemoryZoneConfig, size: number): MemoryConfig {
  const zones = memory.zones?.map((one) => (one === zone ? { ...one, hotplugged_size: size } : one));
  return { ...memory, zones };
}

type Growing = Pick<MemoryZoneConfig, 'id' | 'size' | 'hotplug_size'>;

/** Checks the bounds of a virtio-mem device. */
function checkGrowth(name: string, desired: number, { size, hotplug_size: growth = 0 }: Growing): void {
  if (growth === 0) throw refusal(name, 'cannot grow: hotplug_size is not set');
  if (desired < size) throw refusal(name, `must be ${size} at least (the size at boot), got ${desired}`);
  if (desired > size + growth) {
    throw refusal(name, `must be ${size + growth} at most (size and hotplug_size), got ${desired}`);
  }
  if ((desired - size) % VIRTIO_MEM_BLOCK !== 0) {
    throw refusal(name, `must be ${size} and a multiple of 2 MiB, got ${desired}`);
  }
}

/** Requests a size of a virtio-mem device. The guest plugs and unplugs blocks when its driver is loaded. */
async function request(
  qmp: BootedMachine['machine']['qemu']['qmp'],
  { qemuId }: VirtioMemPlace,
  size: number,
): Promise<void> {
  await qmp.execute('qom-set', {
    path: `/machine/peripheral/${qemuId}`,
    property: 'requested-size',
    value: size,
  });
}

function refusal(name: string, reason: string): ApiError {
  return new ApiError('invalid-config', `${name}: ${reason}`);
}
