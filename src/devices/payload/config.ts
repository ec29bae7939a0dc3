import { bounded, later, optional, struct, type ValueOf } from '../../schema/field.ts';
import { nested, path, text } from '../../schema/kinds.ts';
import { FwCfgConfig } from './fw-cfg.ts';
import { NOT_EMPTY } from '../common/limits.ts';

/** Kernel command line, in characters of one byte each: Cloud Hypervisor's bound (arch/src/x86_64/layout.rs, CMDLINE_MAX_SIZE). */
export const CMDLINE = { pattern: '^[\\x20-\\x7e]*$', maxLength: 65_536 } as const;

/** Reason of the refusal of an IGVM file. */
export const NO_IGVM = 'QEMU 10 cannot load IGVM files';

export interface KernelConfig extends ValueOf<typeof KernelConfig> {}
export const KernelConfig = struct({
  name: 'KernelConfig',
  doc: 'Boot source of the VM: a bzImage, an ELF with a PVH note, or a firmware image',
  fields: { path: bounded(path('File with the kernel or firmware'), NOT_EMPTY) },
});

/** Boot source of the VM in the form of current clients. */
export interface PayloadConfig extends ValueOf<typeof PayloadConfig> {}
export const PayloadConfig = struct({
  name: 'PayloadConfig',
  doc: 'Boot source of the VM in one member, which replaces kernel, initramfs and cmdline',
  fields: {
    firmware: optional(
      bounded(
        path('File with the firmware, or the name of one that the distribution has, e.g. `OVMF`'),
        NOT_EMPTY,
      ),
    ),
    firmware_vars: optional(
      bounded(
        path(
          'File that keeps the EFI variables of `OVMF_CODE*.fd`; made from the `OVMF_VARS*.fd` beside it; default: in memory until vm.delete',
        ),
        NOT_EMPTY,
      ),
    ),
    kernel: optional(bounded(path('File with the kernel'), NOT_EMPTY)),
    cmdline: optional(bounded(text('Command line of the kernel'), CMDLINE)),
    initramfs: optional(bounded(path('File with the initramfs'), NOT_EMPTY)),
    igvm: later(optional(path('IGVM file')), NO_IGVM),
    host_data: later(
      optional(text('Data of the host for a guest with SEV-SNP')),
      'there is no processor with SEV-SNP to see it work',
    ),
    fw_cfg_config: optional(nested(FwCfgConfig)),
  },
});

export interface InitramfsConfig extends ValueOf<typeof InitramfsConfig> {}
export const InitramfsConfig = struct({
  name: 'InitramfsConfig',
  doc: 'First file system of the kernel',
  document: { nullable: true },
  fields: { path: bounded(path('File with the initramfs'), NOT_EMPTY) },
});

export interface CmdLineConfig extends ValueOf<typeof CmdLineConfig> {}
export const CmdLineConfig = struct({
  name: 'CmdLineConfig',
  doc: 'Command line of the kernel',
  fields: {
    args: bounded(text(`Arguments; printable ASCII, at most ${CMDLINE.maxLength / 1024} KiB`), CMDLINE),
  },
});
