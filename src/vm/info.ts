import type { VmInfo, VmState } from '../api/replies.ts';
import type { VmConfig } from '../config/vm-config.ts';
import { deviceTree } from './device-tree.ts';
import type { Run } from './run.ts';

interface Described {
  readonly config: VmConfig;
  readonly state: VmState;
  readonly live: { readonly run: Run } | undefined;
}

/** What vm.info answers: the configuration with every default, id and PTY filled in (reference/api.md 6). */
export function vmInfo({ config, state, live }: Described): VmInfo {
  return {
    config: live?.run.config ?? config,
    state,
    memory_actual_size: config.memory.size,
    device_tree: live === undefined ? undefined : deviceTree(live.run.placements),
  };
}
