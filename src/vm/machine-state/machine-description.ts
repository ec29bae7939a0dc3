import type { VmConfig } from '../../config/vm-config.ts';
import { CpusConfig } from '../../devices/cpus/config.ts';
import { MemoryConfig } from '../../devices/memory/config.ts';
import type { SavedStates } from '../devices/saved-states.ts';
import { decode } from '../../schema/decode.ts';
import {
  SavedDescriptionSchema,
  type SavedDescription,
  type SavedDevice,
  type SavedImage,
} from './description-schema.ts';
import { parseSaved } from '../../schema/saved-values.ts';

/*
 * Machine state that snapshot and migration share. A machine that continues from the state of another machine is made from the
 * description of that machine.
 *
 *   describe-machine.ts      describes a running machine
 *   description-schema.ts    the description as JSON; this file: its members, and the mapping between the two
 *   restored-*.ts            configuration, layout, names and plan of the machine that continues
 *   continue-machine.ts      vCPUs and hot-plug of that machine, after QEMU's start
 *   editable-config.ts       members of the configuration that may differ between the two machines
 *   images.ts                images of disks and pmem devices
 *   mappable-files.ts        files with guest memory
 *   saveable.ts              checks that a machine's state can be saved
 *
 * Invariant: a description comes from a file or another VMM, so all of it is checked before it is used.
 */

/** Description of a machine: with the configuration, the input for a machine that continues from its state. */
export interface MachineDescription extends SavedStates {
  /** QEMU's major and minor version: another version may have other device states */
  readonly qemuVersion: string;
  readonly accelerator: string;
  /** see `Machine` */
  readonly firmware: SavedDescription['firmware'];
  /** see `Machine` */
  readonly efiVariables?: SavedDescription['efiVariables'];
  /** see `Machine` */
  readonly acpiPatch: SavedDescription['acpiPatch'];
  /** the firmware may still read the boot files: see `isInFirmware` */
  readonly readsBootFiles: boolean;
  /** the configuration without the members that may be edited: see `editable-config.ts` */
  readonly fixedConfig: unknown;
  /** vCPUs and RAM at the start; those added later are added again */
  readonly bootConfig: Pick<VmConfig, 'cpus' | 'memory'>;
  /** numbers of the vCPUs that QEMU has, in ascending order */
  readonly vcpus: readonly number[];
  /** sizes of the DIMMs that were added, in `bytes` */
  readonly dimms: readonly number[];
  /** guest addresses of devices that are memory, by QEMU's id */
  readonly memoryAddresses: Readonly<Record<string, number>>;
  /** see `Layout` */
  readonly nextNumber: number;
  readonly devices: readonly SavedDevice[];
  readonly images: readonly SavedImage[];
}

/** Parses a description that another VMM has sent. @throws Error naming the member that is wrong */
export function parseDescription(value: unknown): MachineDescription {
  return fromSaved(parseSaved(SavedDescriptionSchema, value));
}

/** Returns the description in checked JSON. @throws DecodeError if it has no vCPUs or RAM */
export function fromSaved(saved: SavedDescription): MachineDescription {
  const { engine, isInFirstSteps, shape, booted, ...same } = saved;
  return {
    ...same,
    acpiPatch: saved.acpiPatch,
    qemuVersion: engine,
    readsBootFiles: isInFirstSteps,
    fixedConfig: shape,
    bootConfig: { cpus: decode(CpusConfig, booted.cpus), memory: decode(MemoryConfig, booted.memory) },
  };
}

/**
 * Returns QEMU's firmware for a machine that continues without boot files. Returns undefined if the machine needs them: the guest may
 * still read them, or the firmware is one of them.
 */
export function firmwareToContinue({
  firmware,
  readsBootFiles,
}: Pick<MachineDescription, 'firmware' | 'readsBootFiles'>):
  | Exclude<MachineDescription['firmware'], 'own'>
  | undefined {
  return firmware === 'own' || readsBootFiles ? undefined : firmware;
}
