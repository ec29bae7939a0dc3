import type { VmConfigInput } from '../config/vm-config.ts';
import type { DirectoryImage, OciImage } from '../images/image.ts';
import type { RunRequest } from './run-request.ts';
import { RunError } from './errors.ts';

/*
 * Plan of a VM from a request and an image. It is pure: it looks nothing up on the host.
 *
 * A VM with guest tools (OCI images, directories, a kernel alone) has: each layer of the image as a read-only disk, or the directory as a
 * read-only virtio-fs share, the volumes as virtio-fs shares, a virtio-serial port as a socket that carries SSH, the serial port as a file.
 */

/** Mounts and identity that the init of the guest tools makes; they are in the initramfs (guest-tools/boot-initramfs.ts). */
export interface GuestSetup {
  /**
   * Lower directories of the root file system. `disks`: squashfs on virtio-blk disks with these serial numbers, from the lowest layer to
   * the topmost; `share`: virtio-fs with this tag; `none`: the root file system of the tools
   */
  readonly root:
    | { readonly kind: 'disks'; readonly serials: readonly string[]; readonly partitions?: readonly number[] }
    | { readonly kind: 'share'; readonly tag: string }
    | { readonly kind: 'none' };
  /** the modules of virtio-fs are loaded; volumes are mounted when commands can run */
  readonly hasVolumes: boolean;
  readonly hostname: string;
  /** the first network interface is configured, and the name server written to the image's /etc/resolv.conf */
  readonly hasNetwork: boolean;
}

/** A virtio-fs share that is mounted before the first command. */
export interface GuestVolume {
  readonly tag: string;
  /** absolute path in the image's root file system; made if it does not exist */
  readonly path: string;
  readonly isReadOnly: boolean;
}

/** Files to boot. */
export interface BootFiles {
  readonly kernel: string;
  readonly initramfs: string;
  /** command line of the kernel */
  readonly commandLine: string;
}

/** Sockets and files of a VM directory that its configuration names. */
export interface PlanPaths {
  readonly console: string;
  readonly serial: string;
}

/** Name of the virtio-serial port of the SSH server. */
export const SSH_PORT_NAME = 'nephos.ssh';

/** Disks for layers: PCI slots 1 to 31, less those of the other devices. */
const LAYERS_MAX = 20;

/** Returns the work of init for an image. */
export function planSetup(
  request: RunRequest,
  image: OciImage | DirectoryImage | undefined,
  hostname: string,
): GuestSetup {
  return {
    root: rootOf(image),
    hasVolumes: request.volumes.length > 0,
    hostname,
    hasNetwork: request.network === 'user',
  };
}

const ROOT_TAG = 'root';

function rootOf(image: OciImage | DirectoryImage | undefined): GuestSetup['root'] {
  if (image === undefined) return { kind: 'none' };
  if (image.kind === 'directory') return { kind: 'share', tag: ROOT_TAG };
  return {
    kind: 'disks',
    serials: image.layers.map((_, i) => layerSerial(i)),
    partitions: image.layers.map(({ partitions = 0 }) => partitions),
  };
}

function layerSerial(index: number): string {
  return `layer${index}`;
}

function volumeTag(index: number): string {
  return `volume${index}`;
}

/**
 * Plans the configuration of a VM with guest tools.
 * @throws RunError for an image with too many layers
 */
export function planToolsVm(
  request: RunRequest,
  image: OciImage | DirectoryImage | undefined,
  { boot, paths }: { readonly boot: BootFiles; readonly paths: PlanPaths },
): VmConfigInput {
  const disks = image?.kind === 'oci' ? planLayers(image) : [];
  const fs = planShares(request, image);
  return {
    cpus: { boot_vcpus: request.cpus, max_vcpus: request.cpus },
    memory: { size: request.memory },
    kernel: { path: boot.kernel },
    initramfs: { path: boot.initramfs },
    cmdline: { args: boot.commandLine },
    serial: { mode: 'File', file: paths.serial },
    console: { mode: 'Socket', socket: paths.console, port: SSH_PORT_NAME },
    ...(disks.length > 0 && { disks }),
    ...(fs.length > 0 && { fs }),
    ...(request.network === 'user' && { net: [planNetwork(request)] }),
  };
}

function planLayers({ name, layers }: OciImage): NonNullable<VmConfigInput['disks']> {
  if (layers.length > LAYERS_MAX)
    throw new RunError(
      'invalid',
      `image ${name}: it has ${layers.length} layers, a VM can have ${LAYERS_MAX} at most`,
    );
  return layers.map(({ path }, i) => ({
    id: layerSerial(i),
    serial: layerSerial(i),
    path,
    readonly: true,
    image_type: 'Raw' as const,
  }));
}

/** Returns the mounts of the volumes, in the order of the request. */
export function planVolumes({ volumes }: RunRequest): GuestVolume[] {
  return volumes.map(({ guest, isReadOnly }, i) => ({ tag: volumeTag(i), path: guest, isReadOnly }));
}

/** Plans the virtio-fs shares of the volumes, and of an image that is a directory. */
export function planShares(
  { volumes }: RunRequest,
  image: OciImage | DirectoryImage | undefined,
): NonNullable<VmConfigInput['fs']> {
  const root =
    image?.kind === 'directory'
      ? [{ id: ROOT_TAG, tag: ROOT_TAG, directory: image.path, readonly: true }]
      : [];
  const shares = volumes.map(({ host, isReadOnly }, i) => ({
    id: volumeTag(i),
    tag: volumeTag(i),
    directory: host,
    readonly: isReadOnly,
  }));
  return [...root, ...shares];
}

/** Plans user-mode networking with the published ports. */
export function planNetwork({ ports }: RunRequest): NonNullable<VmConfigInput['net']>[number] {
  return {
    id: 'net',
    backend: 'user',
    forwards: ports.map(({ address, hostPort, guestPort, protocol }) => ({
      protocol,
      host_address: address,
      host_port: hostPort,
      guest_port: guestPort,
    })),
  };
}
