import * as v from 'valibot';
import { action, query } from '../command.ts';

/** Memory that is plugged as a device, at an address of its own in the guest's address space. */
export interface MemoryDevice {
  readonly type: string;
  /** id of the device in QEMU; undefined if it has none */
  readonly id: string | undefined;
  /** guest-physical address of its first byte */
  readonly address: number;
  /** plugged memory at present, in `bytes` */
  readonly size: number;
}

const id = v.optional(v.string());
const size = v.number();
const Dimm = v.object({ id, addr: v.number(), size });
const Other = v.object({ id, memaddr: v.number(), size });

/** QEMU's MemoryDeviceInfo. The member with the address has another name for DIMMs than for the other devices. */
const MemoryDeviceInfo = v.pipe(
  v.variant('type', [
    v.object({ type: v.picklist(['dimm', 'nvdimm']), data: Dimm }),
    v.object({ type: v.picklist(['virtio-pmem', 'virtio-mem', 'sgx-epc']), data: Other }),
  ]),
  v.transform(({ type, data }): MemoryDevice => {
    const address = 'addr' in data ? data.addr : data.memaddr;
    return { type, id: data.id, address, size: data.size };
  }),
);

const MemoryBackend = v.object({
  id: v.optional(v.string()),
  /** mapped as shared: another process can map it, too */
  share: v.boolean(),
});

/** Guest RAM: its back-ends, the devices that hold it, the balloon. All sizes in `bytes`. */
export const memoryCommands = {
  'query-memory-devices': query<readonly MemoryDevice[]>(v.array(MemoryDeviceInfo)),
  'query-memory-size-summary': query(v.object({ 'base-memory': v.number() })),
  'query-memdev': query(v.array(MemoryBackend)),
  /** `value` is the RAM that the guest keeps, not the size of the balloon; 0 is ignored */
  balloon: action<{ readonly value: number }>(),
  /** `actual` is the RAM that the guest keeps */
  'query-balloon': query(v.object({ actual: v.number() })),
};
