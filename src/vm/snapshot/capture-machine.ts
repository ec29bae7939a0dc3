import { open, readFile } from 'node:fs/promises';
import { encodeVmConfig, portableVmConfig } from '../../config/vm-config.ts';
import type { Extent } from '../../host/memory/extents.ts';
import { createMemfd } from '../../native/memfd.ts';
import { readProcess } from '../../native/process-copy.ts';
import { qemuId } from '../../plan/placement.ts';
import { withRoms, writeDeviceState, type Rom } from '../../qemu/qmp/device-state.ts';
import { ramBlocks, type RamBlock } from '../../qemu/qmp/ram-blocks.ts';
import type { DeviceMemory } from '../devices/state-actions.ts';
import { deviceMemory, hasUnsavedDevices, whileSaveable } from '../devices/states.ts';
import type { SavedDescription } from '../machine-state/description-schema.ts';
import { describeMachine } from '../machine-state/describe-machine.ts';
import type { Machine } from '../machine.ts';
import type { Vm } from '../vm.ts';
import type { SnapshotBase } from './chain/snapshot-base.ts';
import type { DiskCopies } from './live/copy-disks.ts';
import { zoneFilesOf, type ZoneFile } from './zone-files.ts';

/** A stopped machine. Its RAM is in QEMU, and does not change until the snapshot is written. */
export interface CapturedMachine {
  readonly qemu: SavedQemu;
  readonly blocks: readonly RamBlock[];
  /** may settle while the RAM is written */
  readonly states: Promise<MachineStates>;
  /** contents of `config.json` */
  readonly config: string;
  readonly zones: ReadonlyMap<string, ZoneFile>;
  readonly memory: DeviceMemory;
  /** copies of the disks, which run: they are part of the snapshot */
  readonly disks?: DiskCopies | undefined;
  /** called when the RAM is written: the machine may change it from then on */
  readonly onWritten?: (() => Promise<void>) | undefined;
  /** see `SnapshotBase`: of the machine that continues, where that is another one */
  readonly ownPages?: SnapshotBase['ownPages'];
  /** where the RAM at the stop is in files that this process has mapped, and the machine continues */
  readonly frozen?: FrozenRam;
}

/** The process with the RAM. */
interface SavedQemu extends Pick<Machine['qemu'], 'pid'> {
  readonly qmp: Pick<Machine['qemu']['qmp'], 'version'>;
}

/** States of a stopped machine without its RAM. */
export interface MachineStates {
  readonly described: SavedDescription;
  /** QEMU's device states, with its own memory blocks */
  readonly stream: Buffer;
}

/** RAM at the time of a stop. */
export interface FrozenRam {
  /** process in which the addresses of the blocks are */
  readonly pid: number;
  /** pages that were private in QEMU, by name of the block */
  readonly ownPages: ReadonlyMap<string, readonly Extent[]>;
}

/** Starts to read the states of a paused machine. */
export async function captureMachine(vm: Vm, machine: Machine): Promise<CapturedMachine> {
  const blocks = await ownBlocks(machine);
  const rest = await captureRest(vm, machine, blocks);
  const states = readStates(vm, machine, blocks);
  states.catch(() => undefined);
  // to read and to hide such a device can change RAM
  if (hasUnsavedDevices(machine)) await states;
  return { ...rest, states };
}

async function readStates(vm: Vm, machine: Machine, blocks: readonly RamBlock[]): Promise<MachineStates> {
  const described = await describeMachine(vm, machine);
  const stream = await whileSaveable(machine, described, () => deviceState(machine, blocks));
  return { described, stream };
}

/** Reads the parts of a captured machine that do not change while it runs. */
export async function captureRest(
  vm: Vm,
  machine: Machine,
  blocks: readonly RamBlock[],
): Promise<Omit<CapturedMachine, 'states'>> {
  const config = `${JSON.stringify(encodeVmConfig(portableVmConfig(vm.config)), undefined, 2)}\n`;
  const zones = await zoneFilesOf(machine, blocks);
  return { qemu: machine.qemu, blocks, config, zones, memory: await deviceMemory(machine) };
}

/** Returns the machine's memory without ivshmem, whose file programs of the host share. */
export async function ownBlocks({ qemu, layout }: Machine): Promise<readonly RamBlock[]> {
  const shared = new Set(
    layout.placements.flatMap(({ device, id }) => device.foreignMemory?.(qemuId(id)) ?? []),
  );
  return (await ramBlocks(qemu.qmp)).filter(({ name }) => !shared.has(name));
}

/** Returns QEMU's device states, with the contents of memory blocks of QEMU itself, e.g. firmware. */
async function deviceState({ qemu }: Machine, blocks: readonly RamBlock[]): Promise<Buffer> {
  using target = await createMemfd('device-state');
  await using writing = await open(target.path, 'w');
  await writeDeviceState(qemu, writing.fd);
  const roms = readRoms(
    qemu.pid,
    blocks.filter(({ planned }) => !planned),
  );
  return withRoms(await readFile(target.path), roms);
}

/** Reads memory blocks of QEMU itself. The C library must be loaded. @throws the system's error */
export function readRoms(pid: number, blocks: readonly RamBlock[]): Rom[] {
  return blocks.map(({ name, address, length }) => {
    const bytes = Buffer.alloc(length);
    readProcess(pid, [{ address, length }], bytes);
    return { name, bytes };
  });
}
