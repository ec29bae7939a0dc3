import * as v from 'valibot';
import { SAVED_STATES } from '../devices/saved-states.ts';
import { few, Name, whole } from '../../schema/saved-values.ts';

/*
 * A machine's description as `state.json` and migration messages have it. Their keys never change: snapshots of older versions are
 * restored. `machine-description.ts` maps them to the names of the code.
 */

/** A device, its names and its slot. */
const SavedDevice = v.object({
  /** see `kindOf` */
  kind: Name,
  id: v.string(),
  /** see `Placement` */
  qemuName: v.optional(v.string()),
  slot: v.optional(whole(31)),
  /** see `Placement` */
  added: v.optional(v.boolean()),
  /** its configuration, if the guest was asked to release the device and still had it: the VM's configuration lacks it then */
  leaving: v.optional(v.unknown()),
});

/** Image of a disk or a pmem device; see `SavedImage` in `devices/disk/expected-image.ts`. */
const SavedImage = v.object({
  /** id of the device, as clients know it */
  id: v.string(),
  /** absolute */
  path: v.string(),
  format: v.optional(v.picklist(['Raw', 'Qcow2', 'FixedVhd', 'DynamicVhd', 'Vhdx'])),
  /** undefined in snapshots of older versions */
  bytes: v.optional(whole()),
  /** see `BlockGeometry` */
  /** name of its copy in the folder of the snapshot */
  copy: v.optional(v.string()),
  geometry: v.optional(v.object({ logical: whole(), physical: whole(), minimum: whole(), optimal: whole() })),
});
export type SavedImage = v.InferOutput<typeof SavedImage>;

/** See `MachineDescription`. */
export const SavedDescriptionSchema = v.object({
  /** QEMU's major and minor version */
  engine: Name,
  accelerator: Name,
  /** see `Machine` */
  firmware: v.picklist(['qboot.rom', 'bios-256k.bin', 'own']),
  /** size of the EFI variables, which QEMU's state contains, in `bytes` */
  efiVariables: v.optional(whole(2 ** 23)),
  /** see `Machine` */
  acpiPatch: v.optional(
    v.object({
      dropsSrat: v.boolean(),
      processors: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(255))),
    }),
  ),
  /** the firmware may still read the boot files */
  isInFirstSteps: v.optional(v.boolean(), false),
  /** the configuration without the members that may be edited */
  shape: v.unknown(),
  /** vCPUs, RAM and NUMA nodes at the start */
  booted: v.object({ cpus: v.unknown(), memory: v.unknown(), numa: v.optional(v.unknown()) }),
  /** numbers of the vCPUs that QEMU has */
  vcpus: few(whole(4095), 4096),
  /** sizes of the DIMMs that were added, in `bytes` */
  dimms: few(whole()),
  /** guest addresses of devices that are memory, by QEMU's id */
  memoryAddresses: v.record(Name, whole()),
  nextNumber: whole(2 ** 31),
  devices: few(SavedDevice),
  images: v.optional(few(SavedImage), []),
  ...SAVED_STATES,
});
export type SavedDescription = v.InferOutput<typeof SavedDescriptionSchema>;
export type SavedDevice = SavedDescription['devices'][number];
