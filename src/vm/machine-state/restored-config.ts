import type { VmConfig } from '../../config/vm-config.ts';
import type { BootConfig } from '../machine.ts';
import type { MachineDescription } from './machine-description.ts';

/**
 * Returns vCPUs, RAM and NUMA nodes for the start of a machine that continues from the described state. They are those of the described
 * machine's start; the editable settings of RAM are those of `config`.
 */
export function restoredBootConfig(
  config: Pick<VmConfig, 'memory' | 'numa'>,
  { bootConfig: { cpus, memory } }: Pick<MachineDescription, 'bootConfig'>,
): BootConfig {
  const zones = memory.zones?.map((zone) => {
    const now = config.memory.zones?.find(({ id }) => id === zone.id);
    // with a file a zone has another layout than without
    if (zone.file === undefined || now?.file === undefined) return zone;
    return { ...zone, file: now.file, shared: now.shared };
  });
  const { prefault, thp, reserve } = config.memory;
  return { cpus, memory: { ...memory, prefault, thp, reserve, zones }, numa: config.numa };
}
