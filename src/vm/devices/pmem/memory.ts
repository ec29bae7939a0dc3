import { PmemConfig } from '../../../devices/pmem/config.ts';
import type { AnyConfig } from '../../../devices/device.ts';
import { isDirectory } from '../../../host/memory/ram-backing.ts';
import { qemuId } from '../../../plan/placement.ts';
import { isMessage } from '../../../qemu/qmp/messages.ts';
import { hostAddress, type RamBlock } from '../../../qemu/qmp/ram-blocks.ts';
import { decode } from '../../../schema/decode.ts';
import { openFile } from '../../../util/open-file.ts';
import type { Machine } from '../../launch/machine.ts';
import { pmemsOf } from './state.ts';

/** Memory of pmem devices whose contents are in no file that outlives the machine. */
export interface PmemMemory {
  /** in a file without a name: all of it must be saved */
  readonly nameless: readonly RamBlock[];
  /** over a file that never gets it: what was written must be saved */
  readonly discarding: readonly RamBlock[];
}

/** Finds the memory of pmem devices by where their guest sees it: QEMU's table of memory gives it no name. */
export async function pmemMemory(machine: Machine): Promise<PmemMemory> {
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
    const home = await homeOf(config);
    if (home === 'nameless') nameless.push(block);
    else if (home === 'discarding') discarding.push(block);
  }
  return { nameless, discarding };
}

/** Where a device's contents are: in its file alone, or as `PmemMemory` has it. */
export async function homeOf(config: AnyConfig): Promise<'file' | keyof PmemMemory> {
  const { file, discard_writes: discards } = decode(PmemConfig, config);
  if (await isDirectory(file)) return 'nameless';
  return discards ? 'discarding' : 'file';
}

/** Brings what guests have written into the files of pmem devices to the disk, for who does not share this host's memory. */
export async function flushPmems(machine: Machine): Promise<void> {
  for (const { config } of pmemsOf(machine)) {
    await using file = await openFile(decode(PmemConfig, config).file, { kinds: ['file', 'block'] });
    await file.sync();
  }
}

async function placesOf({ qemu }: Machine): Promise<ReadonlyMap<string, { start: number; size: number }>> {
  const answer = await qemu.qmp.execute('query-memory-devices');
  const devices: readonly unknown[] = Array.isArray(answer) ? answer : [];
  return new Map(
    devices.filter(isMessage).flatMap(({ type, data }) => {
      if (type !== 'virtio-pmem' || !isMessage(data)) return [];
      return [[String(data['id']), { start: Number(data['memaddr']), size: Number(data['size']) }]];
    }),
  );
}
