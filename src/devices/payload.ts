import { optional, struct, type ValueOf } from '../schema/field.ts';
import { path, text } from '../schema/kinds.ts';

export interface KernelConfig extends ValueOf<typeof KernelConfig> {}
export const KernelConfig = struct({
  name: 'KernelConfig',
  doc: 'What the VM starts: a bzImage, an ELF with a PVH note, or a firmware image',
  fields: { path: path('File with the kernel or firmware') },
});

/** How current clients say what the VM starts. */
export interface PayloadConfig extends ValueOf<typeof PayloadConfig> {}
export const PayloadConfig = struct({
  name: 'PayloadConfig',
  doc: 'What the VM starts, in one: takes the place of kernel, initramfs and cmdline',
  fields: {
    firmware: optional(path('File with the firmware')),
    kernel: optional(path('File with the kernel')),
    cmdline: optional(text('Command line of the kernel')),
    initramfs: optional(path('File with the initramfs')),
  },
});

export interface InitramfsConfig extends ValueOf<typeof InitramfsConfig> {}
export const InitramfsConfig = struct({
  name: 'InitramfsConfig',
  doc: 'First file system of the kernel',
  document: { nullable: true },
  fields: { path: path('File with the initramfs') },
});

export interface CmdLineConfig extends ValueOf<typeof CmdLineConfig> {}
export const CmdLineConfig = struct({
  name: 'CmdLineConfig',
  doc: 'Command line of the kernel',
  fields: { args: text('Arguments; printable ASCII, at most 64 KiB') },
});
