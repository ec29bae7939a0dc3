import * as v from 'valibot';
import { SAVED_STATES } from '../devices/saved-states.ts';
import { few, Name, whole } from './saved-values.ts';
import { PAGE_BYTES } from '../../util/page.ts';

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
  ...SAVED_STATES,
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

/** How much of the reason is shown: it quotes the value. */
const REASON_LENGTH = 200;

function parse<S extends v.GenericSchema>(schema: S, value: unknown): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new Error(`${v.getDotPath(issue) ?? 'it'}: ${issue.message}`.slice(0, REASON_LENGTH));
}
