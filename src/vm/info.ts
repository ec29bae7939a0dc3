import type { VmInfo } from '../api/replies.ts';
import { inDialect } from '../config/vm-config.ts';
import { plannedMemory } from '../devices/memory.ts';
import { balloonBytes } from './balloon.ts';
import { deviceTree } from './device-tree.ts';
import { NOTHING_KNOWN } from './resources.ts';
import type { Vm } from './vm.ts';

/** What vm.info answers: the configuration with every default, id and PTY filled in (reference/api.md 6). */
export async function vmInfo(vm: Vm): Promise<VmInfo> {
  const run = vm.live?.run;
  const [known, balloon] =
    run === undefined ? [NOTHING_KNOWN, 0] : await Promise.all([run.resources(), balloonBytes(run)]);
  const { config, state, live } = vm;
  return {
    config: inDialect(live === undefined ? config : live.consoles.complete(config)),
    state,
    memory_actual_size: Math.max(0, plannedMemory(config.memory) - balloon),
    device_tree: live === undefined ? undefined : deviceTree(live.run.layout.placements, known),
  };
}
