import type { VmInfo } from '../api/replies.ts';
import { plannedMemory } from '../devices/memory.ts';
import { balloonBytes } from './balloon.ts';
import { deviceTree } from './device-tree.ts';
import type { Vm } from './vm.ts';

/** What vm.info answers: the configuration with every default, id and PTY filled in (reference/api.md 6). */
export async function vmInfo({ config, state, live }: Vm): Promise<VmInfo> {
  const balloon = live === undefined ? 0 : await balloonBytes(live.run);
  return {
    config: live === undefined ? config : live.consoles.complete(config),
    state,
    memory_actual_size: Math.max(0, plannedMemory(config.memory) - balloon),
    device_tree: live === undefined ? undefined : deviceTree(live.run.layout.placements),
  };
}
