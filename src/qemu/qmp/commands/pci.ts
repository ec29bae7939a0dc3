import * as v from 'valibot';
import { query } from '../command.ts';

const PciRegion = v.object({
  /** number of the base address register */
  bar: v.number(),
  /** `io` or `memory` */
  type: v.string(),
  /** guest-physical address; 0 or negative if the guest has not placed the region */
  address: v.number(),
  /** in `bytes` */
  size: v.number(),
  prefetch: v.optional(v.boolean()),
  mem_type_64: v.optional(v.boolean()),
});

const PciFunction = v.object({ slot: v.number(), regions: v.array(PciRegion) });
/** A function on a PCI bus, with the address ranges that it decodes. */
export type PciFunction = v.InferOutput<typeof PciFunction>;

/** PCI buses, as the guest has configured them. */
export const pciCommands = {
  'query-pci': query(v.array(v.object({ devices: v.array(PciFunction) }))),
};
