import type { VmInfo } from '../../api/replies.ts';
import { dialectOf } from '../../config/dialect.ts';
import { answeredConfig } from '../../config/answered-config.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { withDevice } from '../../config/merge.ts';
import { withDeviceId, type Placement } from '../../plan/placement.ts';
import { plannedMemory } from '../../devices/memory/zones.ts';
import { deviceTree } from './device-tree.ts';
import { withHostPorts } from '../devices/net/host-ports.ts';
import { NOTHING_KNOWN } from './resources.ts';
import type { Machine } from '../machine.ts';
import type { BootedMachine, Vm } from '../vm.ts';

/*
 * Observation of a running machine; no function here changes it.
 *
 *   info.ts             vm.info; device-tree.ts, resources.ts: its devices
 *   counters.ts         vm.counters; latencies.ts: latencies of disks
 *   metrics.ts          Prometheus
 *   usage.ts            vmm.usage: CPU time and memory of the processes
 *   machine-watch.ts    events of QEMU; driver-watch.ts: activations by the guest's drivers; follow-debugger.ts
 *   post-codes.ts       codes that the guest writes to port 0x80
 *
 * Invariant: an answer never waits long for QEMU, which may be stopped or hung. `latest.ts` returns the last known value then.
 */

/** Last answer, and the values that it was made from. */
interface Answered {
  readonly parts: readonly unknown[];
  readonly info: VmInfo;
}

const ANSWERED = new WeakMap<Vm, Answered>();

/**
 * Returns the answer of vm.info: the configuration with every default, id and PTY. The answer is the same frozen object until
 * one of its values changes, because clients poll.
 */
export async function vmInfo(vm: Vm): Promise<VmInfo> {
  const machine = vm.booted?.machine;
  const [known, balloon] =
    machine === undefined ? [NOTHING_KNOWN, 0] : await Promise.all([machine.resources(), balloonOf(machine)]);
  const { config, state, booted } = vm;
  const placements = booted?.machine.layout.placements;
  const detaching = booted === undefined ? [] : detachingDevices(booted.machine);
  const names = detaching.map(({ id }) => id).join();
  const parts = [config, state, booted, placements, names, machine?.hostPorts, known, balloon];
  const last = ANSWERED.get(vm);
  if (last?.parts.every((part, i) => part === parts[i]) === true) return last.info;
  const info: VmInfo = Object.freeze({
    config: answeredConfig(booted === undefined ? config : shownConfig(config, booted, detaching)),
    state,
    memory_actual_size: Math.max(0, plannedMemory(config.memory) - balloon),
    device_tree:
      placements === undefined ? undefined : deviceTree(placements, { known, dialect: dialectOf(config) }),
    accelerator: machine?.accelerator,
  });
  ANSWERED.set(vm, { parts, info });
  return info;
}

async function balloonOf({ config, balloonBytes }: Machine): Promise<number> {
  return config.balloon === undefined ? 0 : ((await balloonBytes.read()) ?? 0);
}

/** Returns the removed devices that the guest has not released: the machine still has them. */
function detachingDevices({ detaching, layout }: Machine): Placement[] {
  return detaching.size === 0 ? [] : layout.placements.filter(({ id }) => detaching.has(id));
}

/** Returns the configuration of a booted VM with PTYs, ports of the host and devices that the guest has not released. */
function shownConfig(
  config: VmConfig,
  { consoles, machine }: BootedMachine,
  detaching: readonly Placement[],
): VmConfig {
  const whole = detaching.reduce(
    (so, one) => withDevice(so, one.device, withDeviceId(one, machine.preparations.completed(one))),
    config,
  );
  return withHostPorts(consoles.complete(whole), machine.hostPorts);
}
