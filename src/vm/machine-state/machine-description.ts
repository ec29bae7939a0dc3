import * as v from 'valibot';

/** A whole number from 0 to `max`. */
function whole(max = Number.MAX_SAFE_INTEGER) {
  return v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(max));
}

/** At most `max` items: a machine has no more. */
function few<const S extends v.GenericSchema>(item: S, max = 256) {
  return v.pipe(v.array(item), v.maxLength(max));
}

const Byte = whole(0xff);
const Word = whole(0xffff);
const Doubleword = whole(0xffff_ffff);
const Name = v.pipe(v.string(), v.maxLength(256));
/** Guest addresses of the three areas of a queue, each the lower and the upper 32 bits. */
const Areas = v.pipe(v.array(Doubleword), v.length(6));
/** Base addresses of a PCI function; those of bridges and ROMs are not more. */
const Places = few(Doubleword, 16);
/** Lower and upper 32 bits. */
const Features = v.pipe(v.array(Doubleword), v.length(2));
/** Largest queue of a virtio device. */
const QUEUE_SIZE_MAX = 32_768;

/** A region of RAM and where it is in `memory-ranges`, in `bytes`. */
const SavedRegion = v.object({
  id: Name,
  offset: whole(),
  length: whole(),
  /** the memory zone whose `file` holds the region: nothing of it is in `memory-ranges` */
  zone: v.optional(Name),
});
export type SavedRegion = v.InferOutput<typeof SavedRegion>;

/** A run of pages within a region, in `bytes`. */
const Pages = v.object({ offset: whole(), length: whole() });

/** A device and where it sat. */
const SavedDevice = v.object({
  /** see `kindOf` */
  kind: Name,
  id: v.string(),
  /** see `Placement` */
  qemuName: v.optional(v.string()),
  slot: v.optional(whole(31)),
  /** see `Placement` */
  added: v.optional(v.boolean()),
  /** its configuration, where the VM's no longer has it: the guest was asked to let it go and still had it */
  leaving: v.optional(v.unknown()),
});
export type SavedDevice = v.InferOutput<typeof SavedDevice>;

/** A queue of a virtio device that QEMU does not save. */
const SavedQueue = v.object({
  size: v.pipe(whole(QUEUE_SIZE_MAX), v.minValue(1)),
  areas: Areas,
  /** how many requests the device has taken, modulo 2^16 */
  taken: Word,
});
export type SavedQueue = v.InferOutput<typeof SavedQueue>;

/** What a guest has set in a pmem device; see `pmem/device.ts`. */
const SavedPmem = v.object({
  /** QEMU's */
  id: v.string(),
  /** registers of its configuration space */
  command: Word,
  places: Places,
  /** that its driver took */
  features: Features,
  status: Byte,
  /** its interrupt was raised and not taken */
  hasNews: v.boolean(),
  queue: v.optional(SavedQueue),
});
export type SavedPmem = v.InferOutput<typeof SavedPmem>;

/** What a guest has set in a virtio device on PCI; see `qemu/guest-bus/virtio-function.ts`. */
const SavedFunction = v.object({
  command: Word,
  places: Places,
  msix: v.optional(v.object({ control: Word, table: few(Doubleword, 2048 * 4) })),
  features: Features,
  status: Byte,
  configVector: Word,
  queues: few(
    v.object({ size: whole(QUEUE_SIZE_MAX), vector: Word, enabled: v.boolean(), areas: Areas }),
    1024,
  ),
  selected: few(Doubleword),
});

/** A vsock device; see `vsock/device.ts`. */
const SavedVsock = v.object({
  /** as clients know it */
  id: v.string(),
  /** the guest's address then */
  cid: whole(),
  /** see `Past` in `backends/vsock/messages.ts` */
  past: v.object({
    streams: few(v.object({ guestPort: Doubleword, hostPort: Doubleword }), 65_536),
    nextHostPort: Doubleword,
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
  bytes: v.optional(whole()),
  /** see `BlockGeometry` */
  geometry: v.optional(v.object({ logical: whole(), physical: whole(), minimum: whole(), optimal: whole() })),
});
export type SavedImage = v.InferOutput<typeof SavedImage>;

/** All that the configuration does not say and a machine must be made from to take the devices' state. */
const MachineDescriptionSchema = v.object({
  /** QEMU's major and minor version: another may know other devices' states */
  engine: Name,
  accelerator: Name,
  /** see `Run` */
  firmware: v.picklist(['qboot.rom', 'bios-256k.bin', 'own']),
  /** see `Run` */
  acpiPatch: v.optional(
    v.object({
      dropsSrat: v.boolean(),
      processors: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(255))),
    }),
  ),
  /** the firmware may still need the kernel: see `qemu/qmp/firmware-phase.ts` */
  isInFirstSteps: v.optional(v.boolean(), false),
  /** what the configuration had that must not be edited; see `edits.ts` */
  shape: v.unknown(),
  /** vCPUs and RAM that the machine was booted with: what came later is made again as it was added */
  booted: v.object({ cpus: v.unknown(), memory: v.unknown(), numa: v.optional(v.unknown()) }),
  /** numbers of the vCPUs that are there */
  vcpus: few(whole(4095), 4096),
  /** sizes of the DIMMs that were added, in `bytes` */
  dimms: few(whole()),
  /** where devices that are memory lie in the guest's address space, by QEMU's id */
  memoryAddresses: v.record(Name, whole()),
  nextNumber: whole(2 ** 31),
  devices: few(SavedDevice),
  images: v.optional(few(SavedImage), []),
  pmems: v.optional(few(SavedPmem), []),
  vsocks: v.optional(few(SavedVsock), []),
});
export type MachineDescription = v.InferOutput<typeof MachineDescriptionSchema>;

/** What `state.json` holds. */
const SavedMachineSchema = v.object({
  ...MachineDescriptionSchema.entries,
  regions: few(SavedRegion, 4096),
  /** pages over a file that is not in the snapshot: where they are in the region and so in `memory-ranges` */
  overlays: v.optional(few(v.object({ ...SavedRegion.entries, pages: v.array(Pages) })), []),
  /** QEMU's stream, in base64 */
  deviceState: v.string(),
});
export type SavedOverlay = SavedMachine['overlays'][number];
export type SavedMachine = v.InferOutput<typeof SavedMachineSchema>;

/** Reads the description that another VMM sends. @throws naming the member that is wrong */
export function parseDescription(value: unknown): MachineDescription {
  return parse(MachineDescriptionSchema, value);
}

/**
 * Parses `state.json`, whose RAM is in a file of `memoryBytes`.
 * @throws naming the member that is wrong
 */
export function parseSavedMachine(text: string, memoryBytes: number): SavedMachine {
  const machine = parse(SavedMachineSchema, JSON.parse(text));
  const inFile = machine.regions.filter(({ zone }) => zone === undefined);
  for (const { id, offset, length } of [...inFile, ...machine.overlays]) {
    if (offset % PAGE_BYTES !== 0 || offset + length > memoryBytes) {
      throw new Error(`the region ${id} is not within the ${memoryBytes} bytes of memory-ranges`);
    }
  }
  for (const { id, length, pages } of machine.overlays) {
    if (pages.every((machine) => machine.offset + machine.length <= length)) continue;
    throw new Error(`pages of the region ${id} are not within it`);
  }
  return machine;
}

const PAGE_BYTES = 4096;
/** How much of the reason is shown: it quotes the value. */
const REASON_LENGTH = 200;

function parse<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new Error(`${v.getDotPath(issue) ?? 'it'}: ${issue.message}`.slice(0, REASON_LENGTH));
}
