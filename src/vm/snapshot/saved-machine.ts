import * as v from 'valibot';

/** A region of RAM and where it is in `memory-ranges`, in `bytes`. */
const SavedRegion = v.object({ id: v.string(), offset: v.number(), length: v.number() });
export type SavedRegion = v.InferOutput<typeof SavedRegion>;

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

/** All that the configuration does not say and a machine must be made from to take the devices' state. */
const MachineDescriptionSchema = v.object({
  /** QEMU's major and minor version: another may know other devices' states */
  engine: v.string(),
  accelerator: v.string(),
  /** the guest's firmware is a file of the user's */
  hasFirmware: v.boolean(),
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
});
export type MachineDescription = v.InferOutput<typeof MachineDescriptionSchema>;

/** What `state.json` holds. */
const SavedMachineSchema = v.object({
  ...MachineDescriptionSchema.entries,
  regions: v.array(SavedRegion),
  /** QEMU's stream, in base64 */
  deviceState: v.string(),
});
export type SavedMachine = v.InferOutput<typeof SavedMachineSchema>;

/** Reads the description that another VMM sends. @throws where it is something else */
export function parseDescription(value: unknown): MachineDescription {
  return v.parse(MachineDescriptionSchema, value);
}

/** Parses `state.json`. @throws where it is something else */
export function parseSavedMachine(text: string): SavedMachine {
  return v.parse(SavedMachineSchema, JSON.parse(text));
}
