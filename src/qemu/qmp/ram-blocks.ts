import type { Qmp } from './connection.ts';

/** A piece of memory of QEMU's that a guest can see. */
export interface RamBlock {
  /** the id of its back-end object, or QEMU's own name for what it makes by itself, e.g. `pc.bios` */
  readonly name: string;
  /** in `bytes` */
  readonly length: number;
  /** where it begins in QEMU's address space */
  readonly address: number;
  /** has a back-end object: is RAM that a plan asked for */
  readonly planned: boolean;
  /** is in huge pages of the host */
  readonly huge: boolean;
}

/** Where a piece of a guest's memory lies in QEMU's address space. @throws where the guest has none there */
export async function hostAddress(qmp: Qmp, guestAddress: number): Promise<number> {
  const words = `gpa2hva ${guestAddress}`;
  const answer = await qmp.execute('human-monitor-command', { 'command-line': words });
  const address = / is (0x[0-9a-f]+)/.exec(answer)?.[1];
  if (address === undefined) throw new Error(answer.trim());
  return Number(address);
}

/** Every piece of guest memory but pmem, which has no name here. Only the human monitor tells the addresses. */
export async function ramBlocks(qmp: Qmp): Promise<RamBlock[]> {
  const table = await qmp.execute('human-monitor-command', { 'command-line': 'info ramblock' });
  const backends = await qmp.execute('query-memdev');
  const ids = new Set(backends.map(({ id }) => id));
  return table.split('\n').flatMap((line) => {
    const [, called = '', pageSize, length = '', address = ''] = ROW.exec(line) ?? [];
    // QEMU never gives it to another machine: see pmem-device.ts
    if (called === '') return [];
    // memory of a device on the bus has the device's place in front
    const id = called.slice(called.lastIndexOf('/') + 1);
    const planned = ids.has(id);
    const name = planned ? id : called;
    return [{ name, length: Number(length), address: Number(address), planned, huge: pageSize !== '4 KiB' }];
  });
}

/** name, page size, offset, used, total, address, access; `used` is what there is */
const ROW = /^ *(\S.*?) +(\d+ \w+) +0x\w+ +(0x\w+) +0x\w+ +(0x\w+)/;
