import type { VmConfig } from '../../config/vm-config.ts';
import type { BootConfig } from '../machine.ts';
import type { MachineDescription } from './machine-description.ts';

/**
 * Returns vCPUs, RAM and NUMA nodes with which a machine starts that continues from another one's state: those of the other machine's
 * start, with the settings of RAM that may be edited as the configuration has them now.
 */
export function restoredBootConfig(
  config: Pick<VmConfig, 'memory' | 'numa'>,
  { bootConfig: { cpus, memory } }: Pick<MachineDescription, 'bootConfig'>,
): BootConfig {
  const zones = memory.zones?.map((zone) => {
    const now = config.memory.zones?.find(({ id }) => id === zone.id);
    // a zone that gets a file, or loses it, would be laid out differently
    if (zone.file === undefined || now?.file === undefined) return zone;
    return { ...zone, file: now.file, shared: now.shared };
  });
  const { prefault, thp, reserve } = config.memory;
  return { cpus, memory: { ...memory, prefault, thp, reserve, zones }, numa: config.numa };
}
