import type { VmInfo } from '../api/replies.ts';
import { dialectOf, inDialect, type VmConfig } from '../config/vm-config.ts';
import { plannedMemory } from '../devices/memory.ts';
import { balloonBytes } from './balloon.ts';
import { deviceTree } from './device-tree.ts';
import { withHostPorts } from './host-ports.ts';
import { NOTHING_KNOWN } from './resources.ts';
import type { Live, Vm } from './vm.ts';

/** What the last answer was made of, and the answer. */
interface Answered {
  readonly parts: readonly unknown[];
  readonly info: VmInfo;
}

const ANSWERED = new WeakMap<Vm, Answered>();

/**
 * What vm.info answers: the configuration with every default, id and PTY filled in (reference/api.md 6). It is the
 * same frozen value for as long as nothing has changed: clients ask often.
 */
export async function vmInfo(vm: Vm): Promise<VmInfo> {
  const run = vm.live?.run;
  const [known, balloon] =
    run === undefined ? [NOTHING_KNOWN, 0] : await Promise.all([run.resources(), balloonBytes(run)]);
  const { config, state, live } = vm;
  const placements = live?.run.layout.placements;
  const parts = [config, state, live, placements, run?.hostPorts, known, balloon];
  const last = ANSWERED.get(vm);
  if (last?.parts.every((part, i) => part === parts[i]) === true) return last.info;
  const info: VmInfo = Object.freeze({
    config: withPhysBits(inDialect(live === undefined ? config : completed(config, live))),
    state,
    memory_actual_size: Math.max(0, plannedMemory(config.memory) - balloon),
    device_tree:
      placements === undefined ? undefined : deviceTree(placements, { known, dialect: dialectOf(config) }),
  });
  ANSWERED.set(vm, { parts, info });
  return info;
}

/** A configuration with what the machine that runs was given: PTYs, ports of the host. */
function completed(config: VmConfig, { consoles, run }: Live): VmConfig {
  return withHostPorts(consoles.complete(config), run.hostPorts);
}

/** What current versions say where nothing was; some of their clients cannot read an answer without it. */
const PHYS_BITS = 46;

/** Every vCPU has a bound of its addresses. */
function withPhysBits(config: VmConfig): VmConfig {
  return { ...config, cpus: { ...config.cpus, max_phys_bits: config.cpus.max_phys_bits ?? PHYS_BITS } };
}
