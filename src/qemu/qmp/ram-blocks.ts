import type { Qmp } from './connection.ts';

/** A block of memory in QEMU that the guest can access. */
export interface RamBlock {
  /** id of its back-end object, or QEMU's name of a block of its own, e.g. `pc.bios` */
  readonly name: string;
  /** size, in `bytes` */
  readonly length: number;
  /** address of its first byte in QEMU's address space */
  readonly address: number;
  /** true for RAM of the plan, which has a back-end object */
  readonly planned: boolean;
  /** true if it is in huge pages of the host */
  readonly huge: boolean;
}

/** Returns the address in QEMU's address space of a guest-physical address. Rejects if the guest has no memory at it. */
export async function hostAddress(qmp: Qmp, guestAddress: number): Promise<number> {
  const command = `gpa2hva ${guestAddress}`;
  const answer = await qmp.execute('human-monitor-command', { 'command-line': command });
  const address = / is (0x[0-9a-f]+)/.exec(answer)?.[1];
  if (address === undefined) throw new Error(answer.trim());
  return Number(address);
}

/** Returns all blocks of guest memory except those of pmem devices, which have no name. No QMP command returns the addresses. */
export async function ramBlocks(qmp: Qmp): Promise<RamBlock[]> {
  const table = await qmp.execute('human-monitor-command', { 'command-line': 'info ramblock' });
  const backends = await qmp.execute('query-memdev');
  return parseRamBlocks(table, new Set(backends.map(({ id }) => id)));
}

/** Parses the output of `info ramblock`; `backends` are the ids of the back-end objects. */
export function parseRamBlocks(table: string, backends: ReadonlySet<string | undefined>): RamBlock[] {
  return table.split('\n').flatMap((line) => {
    const [, qemuName = '', pageSize, length = '', address = ''] = ROW.exec(line) ?? [];
    // the block of a pmem device
    if (qemuName === '') return [];
    // the name of a PCI device's block begins with the device's address
    const id = qemuName.slice(qemuName.lastIndexOf('/') + 1);
    const planned = backends.has(id);
    const name = planned ? id : qemuName;
    return [{ name, length: Number(length), address: Number(address), planned, huge: pageSize !== '4 KiB' }];
  });
}

/** Columns: name, page size, offset, used, total, address, access. `used` is the length. */
const ROW = /^ *(\S.*?) +(\d+ \w+) +0x\w+ +(0x\w+) +0x\w+ +(0x\w+)/;
