import type { VmConfigInput } from '../../config/vm-config.ts';
import { planNetwork, planSetup, planShares } from '../plan-run.ts';
import type { RunRequest } from '../run-request.ts';
import { commandLineOf, credentialStrings } from './credentials.ts';
import { contextIdOf, type DiskGuest } from './guest-identity.ts';
import type { SshServerKeys } from './ssh-server.ts';

/** Files and sockets of a VM directory that the configuration names, and the firmware. */
export interface DiskFiles {
  /** qcow2 overlay of the image */
  readonly disk: string;
  /** seed disk for cloud-init */
  readonly seed: string;
  /** socket of the vsock */
  readonly guest: string;
  readonly serial: string;
  /** UEFI firmware; unused with a kernel in the request */
  readonly firmware: string;
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
  const { volumes, hostname, hasNetwork } = planSetup(request, undefined, request.hostname ?? name);
  return {
    id,
    hostname: hostNameOf(hostname),
    keys,
    volumes,
    hasNetwork,
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
export function planDiskVm(request: RunRequest, guest: DiskGuest, files: DiskFiles): VmConfigInput {
  const fs = planShares(request, undefined);
  return {
    cpus: { boot_vcpus: request.cpus, max_vcpus: request.cpus },
    memory: { size: request.memory },
    ...planBoot(request, guest, files),
    disks: [
      // its backing file is the image, in another folder
      { id: 'disk', path: files.disk, image_type: 'Qcow2', backing_files: true },
      { id: 'seed', path: files.seed, image_type: 'Raw', readonly: true },
    ],
    serial: { mode: 'File', file: files.serial },
    console: { mode: 'Off' },
    vsock: { cid: contextIdOf(guest.id), socket: files.guest },
    platform: { oem_strings: credentialStrings(guest) },
    ...(fs.length > 0 && { fs }),
    ...(guest.hasNetwork && { net: [planNetwork(request)] }),
  };
}

function planBoot(
  { kernel, initramfs }: RunRequest,
  guest: DiskGuest,
  { firmware }: DiskFiles,
): Pick<VmConfigInput, 'kernel' | 'initramfs' | 'cmdline'> {
  if (kernel === undefined) return { kernel: { path: firmware } };
  return {
    kernel: { path: kernel },
    cmdline: { args: `${ROOT} ${commandLineOf(guest)}` },
    ...(initramfs !== undefined && { initramfs: { path: initramfs } }),
  };
}
