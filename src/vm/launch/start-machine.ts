import { ApiError } from '../../api/errors.ts';
import { dialectOf } from '../../config/dialect.ts';
import { POST_CODES } from '../../plan/post-codes.ts';
import type { RamRegion } from '../../devices/memory/plan.ts';
import { vcpuPlaces } from '../../plan/acpi-patch.ts';
import { withDevices } from '../../plan/placement.ts';
import { QemuError } from '../../qemu/process/qemu-error.ts';
import { startQemu, type Qemu } from '../../qemu/process/qemu.ts';
import { reasonOf } from '../../util/errno.ts';
import { pinThreads } from '../affinity/pin-threads.ts';
import type { Consoles } from '../consoles.ts';
import { askHostPorts } from '../devices/net/host-ports.ts';
import type { Preparations } from '../devices/preparations.ts';
import type { Machine } from '../machine.ts';
import { readBalloon } from '../observe/balloon.ts';
import { readCounters } from '../observe/counters.ts';
import { countLatencies } from '../observe/latencies.ts';
import { createLatest, INFO_LIMIT_MS } from '../observe/latest.ts';
import { logPostCodes } from '../observe/post-codes.ts';
import { followResources } from '../observe/resources.ts';
import { qemuFailure } from '../qemu-failure.ts';
import { checkSharedRam } from './check-shared-ram.ts';
import type { MachineStart } from './machine-start.ts';
import type { PlannedMachine } from './planned-machine.ts';

/**
 * Starts QEMU for a planned machine. Its vCPUs are stopped before the guest's first instruction; `start` owns it.
 * Rejects with ApiError `failed`, naming the device or the memory zone that QEMU cannot make.
 */
export async function startMachine(
  start: MachineStart,
  planned: PlannedMachine,
  consoles: Consoles,
): Promise<Machine> {
  checkSharedRam(planned);
  start.checkNotAborted();
  const qemu = await launchQemu(start, planned);
  start.ownQemu(qemu);
  const machine = createMachine(planned, qemu, start.preparations);
  const { placements } = machine.layout;
  consoles.attach(qemu.channels, placements);
  const postCodes = qemu.channels.get(POST_CODES);
  if (postCodes !== undefined) logPostCodes(postCodes, start.startedAt);
  await pinThreads(machine);
  await countAllLatencies(machine);
  machine.hostPorts = await askHostPorts(qemu.qmp, placements);
  return machine;
}

function launchQemu({ signals }: MachineStart, { plan, layout, ram }: PlannedMachine): Promise<Qemu> {
  return startQemu(plan, signals).catch((error: unknown) => {
    const zones = zonesOfError(error, ram.regions);
    if (zones.length > 0)
      throw new ApiError('failed', `memory zone ${zones.join(', ')}: ${reasonOf(error)}`, { cause: error });
    throw qemuFailure(error, layout.placements, 'QEMU could not be started');
  });
}

/** Returns the memory zones of QEMU's error: those of the object that it names, or those with huge pages if QEMU lacks RAM. */
function zonesOfError(error: unknown, regions: readonly RamRegion[]): readonly string[] {
  if (!(error instanceof QemuError)) return [];
  const { part, message } = error;
  const lacksPages = part === undefined && message.includes('guest RAM');
  return regions
    .filter(({ id, backing }) => id === part || (lacksPages && backing.hugepages))
    .flatMap(({ zones }) => zones);
}

function createMachine(planned: PlannedMachine, qemu: Qemu, preparations: Preparations): Machine {
  const { config, bootConfig, layout, accelerator, acpiPatch } = planned;
  const { cpus, memory, numa } = bootConfig;
  const machine: Machine = {
    config: withDevices(config, layout.placements, preparations.completed),
    bootConfig: { cpus, memory, numa },
    ram: planned.ram,
    qemu,
    accelerator: accelerator.name,
    firmware: planned.firmware,
    efiVariables: planned.efiVariables,
    acpiPatch,
    kernelEntry: planned.kernelEntry,
    layout,
    deviceSteps: new Map(planned.deviceSteps),
    preparations,
    hostPorts: new Map(),
    detaching: new Map(),
    hasReleased: false,
    ejected: new Set(),
    onDetached: () => undefined,
    hidden: new Set(),
    detachingVcpus: new Map(),
    spareVcpus: accelerator.name === 'tcg' ? vcpuPlaces(cpus, acpiPatch) - cpus.boot_vcpus : Infinity,
    dimms: [],
    guestFailure: undefined,
    balloonBytes: createLatest(() => readBalloon(qemu.qmp), INFO_LIMIT_MS),
    diskCounters: createLatest(() => readCounters(qemu.qmp, machine.layout.placements, dialectOf(config))),
    resources: followResources(qemu.qmp),
    end: async () => {
      try {
        await qemu.quit();
      } finally {
        await preparations.releaseAll();
      }
    },
  };
  return machine;
}

async function countAllLatencies({ config, qemu, layout }: Machine): Promise<void> {
  if (!dialectOf(config).hasLatencies) return;
  for (const placement of layout.placements) await countLatencies(qemu.qmp, placement);
}
