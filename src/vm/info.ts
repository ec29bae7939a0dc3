import type { VmInfo } from '../api/replies.ts';
import { plannedMemory } from '../devices/memory.ts';
import { deviceTree } from './device-tree.ts';
import type { Vm } from './vm.ts';

/** What vm.info answers: the configuration with every default, id and PTY filled in (reference/api.md 6). */
export function vmInfo({ config, state, live }: Vm): VmInfo {
  return {
    config: live === undefined ? config : live.consoles.complete(config),
    state,
    memory_actual_size: plannedMemory(config.memory),
    device_tree: live === undefined ? undefined : deviceTree(live.run.layout.placements),
  };
}
