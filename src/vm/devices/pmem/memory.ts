import { ApiError } from '../../../api/errors.ts';
import { PmemConfig } from '../../../devices/pmem/config.ts';
import type { AnyConfig } from '../../../devices/device.ts';
import { isDirectory } from '../../../host/memory/ram-backing.ts';
import { qemuId } from '../../../plan/placement.ts';
import { hostAddress, type RamBlock } from '../../../qemu/qmp/ram-blocks.ts';
import { decode } from '../../../schema/decode.ts';
import { openFile } from '../../../util/open-file.ts';
import type { Machine } from '../../machine.ts';
import type { DeviceMemory } from '../state-actions.ts';
import { pmemsOf } from './placements.ts';

/** Finds the memory of pmem devices by its guest address: it has no name in QEMU's table of memory. */
export async function pmemMemory(machine: Machine): Promise<DeviceMemory> {
  const [nameless, discarding]: [RamBlock[], RamBlock[]] = [[], []];
  const pmems = pmemsOf(machine);
  if (pmems.length === 0) return { nameless, discarding };
  const places = await placesOf(machine);
  for (const { id, config } of pmems) {
    const place = places.get(qemuId(id));
    if (place === undefined) throw new Error(`pmem ${id}: has no place in the guest's memory`);
    const address = await hostAddress(machine.qemu.qmp, place.start);
    const name = `${qemuId(id)}.ram`;
    const block: RamBlock = { name, length: place.size, address, planned: true, huge: false };
    const storage = await storageOf(config);
    if (storage === 'nameless') nameless.push(block);
    else if (storage === 'discarding') discarding.push(block);
  }
  return { nameless, discarding };
}

/** Returns the storage of a device's contents: its file alone, or memory as in `DeviceMemory`. */
async function storageOf(config: AnyConfig): Promise<'file' | keyof DeviceMemory> {
  const { file, discard_writes: discards } = decode(PmemConfig, config);
  if (await isDirectory(file)) return 'nameless';
  return discards ? 'discarding' : 'file';
}

/** Rejects with ApiError naming a pmem device whose contents are in no file. */
export async function checkPmemsMigrate(machine: Machine): Promise<void> {
  for (const { id, config } of pmemsOf(machine)) {
    if ((await storageOf(config)) === 'file') continue;
    throw new ApiError('failed', `pmem ${id}: cannot be sent: what its guest writes is in no file`);
  }
}

/** Writes the files of pmem devices to the disk, for a destination that does not share this host's page cache. */
export async function flushPmems(machine: Machine): Promise<void> {
  for (const { config } of pmemsOf(machine)) {
    await using file = await openFile(decode(PmemConfig, config).file, { kinds: ['file', 'block'] });
    await file.sync();
  }
}

async function placesOf({ qemu }: Machine): Promise<ReadonlyMap<string, { start: number; size: number }>> {
  const devices = await qemu.qmp.execute('query-memory-devices');
  return new Map(
    devices.flatMap(({ type, id, address, size }) =>
      type === 'virtio-pmem' && id !== undefined ? [[id, { start: address, size }]] : [],
    ),
  );
}
