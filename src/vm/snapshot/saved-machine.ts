import * as v from 'valibot';

/** A region of RAM and where it is in `memory-ranges`, in `bytes`. */
const SavedRegion = v.object({
  id: v.string(),
  offset: v.number(),
  length: v.number(),
  /** the memory zone whose `file` holds the region: nothing of it is in `memory-ranges` */
  zone: v.optional(v.string()),
});
export type SavedRegion = v.InferOutput<typeof SavedRegion>;

/** A run of pages within a region, in `bytes`. */
const Pages = v.object({ offset: v.number(), length: v.number() });

/** A device and where it sat. */
const SavedDevice = v.object({
  /** see `kindOf` */
  kind: v.string(),
  id: v.string(),
  slot: v.optional(v.number()),
  /** see `Placement` */
  added: v.optional(v.boolean()),
  /** its configuration, where the VM's no longer has it: the guest was asked to let it go and still had it */
  leaving: v.optional(v.unknown()),
});
export type SavedDevice = v.InferOutput<typeof SavedDevice>;

/** A queue of a virtio device that QEMU does not save. */
const SavedQueue = v.object({
  size: v.number(),
  /** guest addresses of its three areas, each the lower and the upper 32 bits */
  areas: v.array(v.number()),
  /** how many requests the device has taken, modulo 2^16 */
  taken: v.number(),
});
export type SavedQueue = v.InferOutput<typeof SavedQueue>;

/** What a guest has set in a pmem device; see `pmem/device.ts`. */
const SavedPmem = v.object({
  /** QEMU's */
  id: v.string(),
  /** registers of its configuration space */
  command: v.number(),
  places: v.array(v.number()),
  /** that its driver took, lower and upper 32 bits */
  features: v.array(v.number()),
  status: v.number(),
  /** its interrupt was raised and not taken */
  hasNews: v.boolean(),
  queue: v.optional(SavedQueue),
});
export type SavedPmem = v.InferOutput<typeof SavedPmem>;

/** What a guest has set in a virtio device on PCI; see `qemu/virtio-function.ts`. */
const SavedFunction = v.object({
  command: v.number(),
  places: v.array(v.number()),
  msix: v.optional(v.object({ control: v.number(), table: v.array(v.number()) })),
  features: v.array(v.number()),
  status: v.number(),
  configVector: v.number(),
  queues: v.array(
    v.object({ size: v.number(), vector: v.number(), enabled: v.boolean(), areas: v.array(v.number()) }),
  ),
  selected: v.array(v.number()),
});

/** A vsock device; see `vsock/device.ts`. */
const SavedVsock = v.object({
  /** as clients know it */
  id: v.string(),
  /** the guest's address then */
  cid: v.number(),
  /** see `Past` in `backends/vsock/messages.ts` */
  past: v.object({
    streams: v.array(v.object({ guestPort: v.number(), hostPort: v.number() })),
    nextHostPort: v.number(),
  }),
  state: SavedFunction,
});
export type SavedVsock = v.InferOutput<typeof SavedVsock>;

/** Image of a disk or a pmem device; see `SavedImage` in `prepare/expected-image.ts`. */
const SavedImage = v.object({
  /** of the device, as clients know it */
  id: v.string(),
  /** absolute */
  path: v.string(),
  format: v.optional(v.picklist(['Raw', 'Qcow2', 'FixedVhd', 'DynamicVhd', 'Vhdx'])),
  bytes: v.optional(v.number()),
});
export type SavedImage = v.InferOutput<typeof SavedImage>;

/** All that the configuration does not say and a machine must be made from to take the devices' state. */
const MachineDescriptionSchema = v.object({
  /** QEMU's major and minor version: another may know other devices' states */
  engine: v.string(),
  accelerator: v.string(),
  /** see `Run` */
  firmware: v.picklist(['qboot.rom', 'bios-256k.bin', 'own']),
  /** the firmware may still need the kernel: see `qemu/first-steps.ts` */
  isInFirstSteps: v.optional(v.boolean(), false),
  /** what the configuration had that must not be edited; see `edits.ts` */
  shape: v.unknown(),
  /** vCPUs and RAM that the machine was booted with: what came later is made again as it was added */
  booted: v.object({ cpus: v.unknown(), memory: v.unknown(), numa: v.optional(v.unknown()) }),
  /** numbers of the vCPUs that are there */
  vcpus: v.array(v.number()),
  /** sizes of the DIMMs that were added, in `bytes` */
  dimms: v.array(v.number()),
  /** where devices that are memory lie in the guest's address space, by QEMU's id */
  memoryAddresses: v.record(v.string(), v.number()),
  nextNumber: v.number(),
  devices: v.array(SavedDevice),
  images: v.optional(v.array(SavedImage), []),
  pmems: v.optional(v.array(SavedPmem), []),
  vsocks: v.optional(v.array(SavedVsock), []),
});
export type MachineDescription = v.InferOutput<typeof MachineDescriptionSchema>;

/** What `state.json` holds. */
const SavedMachineSchema = v.object({
  ...MachineDescriptionSchema.entries,
  regions: v.array(SavedRegion),
  /** pages over a file that is not in the snapshot: where they are in the region and so in `memory-ranges` */
  overlays: v.optional(v.array(v.object({ ...SavedRegion.entries, pages: v.array(Pages) })), []),
  /** QEMU's stream, in base64 */
  deviceState: v.string(),
});
export type SavedOverlay = SavedMachine['overlays'][number];
export type SavedMachine = v.InferOutput<typeof SavedMachineSchema>;

/** Reads the description that another VMM sends. @throws where it is something else */
export function parseDescription(value: unknown): MachineDescription {
  return v.parse(MachineDescriptionSchema, value);
}

/** Parses `state.json`. @throws where it is something else */
export function parseSavedMachine(text: string): SavedMachine {
  return v.parse(SavedMachineSchema, JSON.parse(text));
}
