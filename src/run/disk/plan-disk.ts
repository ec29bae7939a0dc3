import type { VmConfigInput } from '../../config/vm-config.ts';
import { planNetwork, planShares, planVolumes } from '../plan-run.ts';
import type { RunRequest } from '../run-request.ts';
import { commandLineOf, credentialStrings } from './credentials.ts';
import { contextIdOf, type DiskGuest } from './guest-identity.ts';
import type { DiskFirmware } from './firmware.ts';
import { SSH_PORT_NAME, type SshServerKeys } from './ssh-server.ts';

/** A disk image's VM to plan. */
export interface DiskMachine {
  readonly request: RunRequest;
  /** undefined with a kernel in the request */
  readonly firmware: DiskFirmware | undefined;
}

/** Files and sockets of a VM directory that the configuration names, and the firmware. */
export interface DiskFiles {
  /** qcow2 overlay of the image */
  readonly disk: string;
  /** seed disk for cloud-init */
  readonly seed: string;
  /** socket of the vsock */
  readonly guest: string;
  /** socket of the port {@link SSH_PORT_NAME} */
  readonly console: string;
  readonly serial: string;
  /** EFI variables; undefined: they stay in memory */
  readonly variables?: string;
}

/** First partition of the first disk: the usual place of the root file system, for a kernel without another root= */
const ROOT = 'console=ttyS0 root=/dev/vda1 rw';

/** Describes the guest of a request. `name` and `id` are those of the VM. */
export function describeGuest(
  request: RunRequest,
  { name, id }: { readonly name: string; readonly id: string },
  keys: SshServerKeys,
): DiskGuest {
  const { kernelArguments } = request;
  return {
    id,
    hostname: hostNameOf(request.hostname ?? name),
    keys,
    volumes: planVolumes(request),
    hasNetwork: request.network === 'user',
    ...(kernelArguments !== undefined && { kernelArguments }),
  };
}

/** Longest host name, in characters (hostname(7)). */
const HOSTNAME_MAX = 64;

/** Returns a name with the characters that systemd takes for a host name (RFC 952): names of VMs may have others. */
function hostNameOf(name: string): string {
  const text = name.replaceAll(/[^A-Za-z0-9.-]/g, '-').slice(0, HOSTNAME_MAX);
  return text.replaceAll(/^[.-]+|[.-]+$/g, '').replaceAll(/\.{2,}/g, '.') || 'nephos';
}

/** Plans the configuration of a VM with a disk image. @throws RunError */
export function planDiskVm(
  { request, firmware }: DiskMachine,
  guest: DiskGuest,
  files: DiskFiles,
): VmConfigInput {
  const fs = planShares(request, undefined);
  return {
    cpus: { boot_vcpus: request.cpus, max_vcpus: request.cpus },
    memory: { size: request.memory },
    ...(firmware === undefined ? planKernel(request, guest) : planFirmware(firmware, files)),
    disks: [
      // its backing file is the image, in another folder
      { id: 'disk', path: files.disk, image_type: 'Qcow2', backing_files: true },
      { id: 'seed', path: files.seed, image_type: 'Raw', readonly: true },
    ],
    serial: { mode: 'File', file: files.serial },
    // the SSH connection of a warm start
    console: { mode: 'Socket', socket: files.console, port: SSH_PORT_NAME },
    // many distributions leave a guest that panicked as it is
    pvpanic: true,
    vsock: { cid: contextIdOf(guest.id), socket: files.guest },
    platform: { oem_strings: credentialStrings(guest) },
    ...(fs.length > 0 && { fs }),
    ...(guest.hasNetwork && { net: [planNetwork(request)] }),
  };
}

function planKernel(
  { kernel = '', initramfs }: RunRequest,
  guest: DiskGuest,
): Pick<VmConfigInput, 'kernel' | 'initramfs' | 'cmdline'> {
  return {
    kernel: { path: kernel },
    cmdline: { args: `${ROOT} ${commandLineOf(guest)}` },
    ...(initramfs !== undefined && { initramfs: { path: initramfs } }),
  };
}

function planFirmware(
  { path, hasVariables }: DiskFirmware,
  { variables }: DiskFiles,
): Pick<VmConfigInput, 'kernel' | 'payload'> {
  const keeps = hasVariables && variables !== undefined;
  // `payload` replaces `kernel`, which the type needs
  return { kernel: { path }, payload: { firmware: path, ...(keeps && { firmware_vars: variables }) } };
}
