import { needsSharedMemory, type Step } from '../../../devices/common/step.ts';
import { zonesOf } from '../../../devices/memory/zones.ts';
import type { Placement } from '../../../plan/placement.ts';
import { hasUnsavedDevices } from '../../devices/states.ts';
import type { Machine } from '../../machine.ts';

type Facts = Pick<
  Machine,
  'layout' | 'config' | 'bootConfig' | 'deviceSteps' | 'detaching' | 'detachingVcpus' | 'ejected'
>;

/**
 * Returns the reason why the RAM of a running machine cannot be frozen, neither in place nor for a twin, so that the machine is paused
 * while its RAM is copied; undefined if it can. Pure.
 */
export function reasonToCopy(machine: Facts): string | undefined {
  const { layout, deviceSteps, config, detachingVcpus } = machine;
  for (const placement of layout.placements) {
    const reason = reasonOfDevice(placement, deviceSteps.get(placement.id) ?? []);
    if (reason !== undefined) return `${nameOf(placement)}: ${reason}`;
  }
  const [leaving] = [...machine.detaching.keys(), ...[...machine.ejected].map(({ id }) => id)];
  if (leaving !== undefined) return `${leaving}: the guest is about to release it`;
  if (detachingVcpus.size > 0) return 'the guest is about to release vCPUs';
  if (config.gdb === true) return 'gdb: a debugger is connected to QEMU';
  return (
    reasonOfMemory(machine) ?? (hasUnsavedDevices(machine) ? 'QEMU does not save all devices' : undefined)
  );
}

/** Returns the reason why a running machine can continue in its own QEMU only; undefined if a twin can continue it. Pure. */
export function reasonAgainstTwin({
  layout,
  deviceSteps,
  config,
}: Pick<Facts, 'layout' | 'deviceSteps' | 'config'>): string | undefined {
  for (const placement of layout.placements) {
    if ((deviceSteps.get(placement.id) ?? []).some(isUserNet)) {
      return `${nameOf(placement)}: connections of a user-mode network cannot continue in another process`;
    }
  }
  if (config.payload?.firmware_vars !== undefined) return 'firmware_vars: the file is locked by QEMU';
  return undefined;
}

function isUserNet(step: Step): boolean {
  return step.kind === 'netdev' && step.props.type === 'user';
}

function nameOf({ device, id }: Placement): string {
  return `${device.flag ?? device.member} ${id}`;
}

function reasonOfDevice({ device }: Placement, steps: readonly Step[]): string | undefined {
  if (needsSharedMemory(steps)) return 'its back-end needs shared memory';
  if (device.member === 'pmem') return 'QEMU does not save its state';
  for (const step of steps) {
    if (step.kind !== 'device') continue;
    const { props } = step;
    if (props.driver === 'virtio-mem-pci') return 'the guest can return its memory';
    if (props['free-page-reporting'] === true) return 'the guest reports free pages';
  }
  return undefined;
}

/** Returns the reason of the RAM: a twin maps its files privately, and cannot do that with all of them. */
function reasonOfMemory({ config, bootConfig }: Facts): string | undefined {
  for (const { shared, hugepages, mergeable } of [config.memory, ...zonesOf(bootConfig.memory)]) {
    if (shared) return 'memory: it is shared with other processes';
    if (hugepages) return 'memory: it is in huge pages';
    if (mergeable) return 'memory: it has no file, as its pages may be merged';
  }
  return undefined;
}
