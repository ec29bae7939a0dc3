import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { VmConfigInput } from '../../config/vm-config.ts';
import { chooseAccelerator } from '../../host/system/accelerator.ts';
import { ownExecutable } from '../../sdk/vmm-process.ts';
import { findProgram } from '../../qemu/process/program.ts';

/*
 * Key of a warm snapshot: the SHA-256 of all that shapes the guest until it is ready. A change of any of it is another key, so an entry
 * never becomes invalid under its key.
 */

declare const NEPHOS_VERSION: string;

/** Increased with each change of the format of an entry, or of the state in which a guest is when its snapshot is taken. */
const FORMAT = 3;

/** A machine whose ready guest is kept. */
export interface WarmMachine {
  readonly config: VmConfigInput;
  /** Identity of the initramfs, which may not exist: each VM can have a file of its own with the same content */
  readonly initramfsId: string;
  /** Further files, e.g. the backing files of a disk */
  readonly files?: readonly string[];
}

/** Facts of the host that are part of the key. */
export interface HostFacts {
  readonly version: string;
  readonly accelerator: string;
  /** Identities of the programs and of the files that the configuration names */
  readonly files: readonly string[];
}

/** Returns the key of a machine on this host: 64 hexadecimal digits. */
export async function warmKeyOf({ config, initramfsId, files: further = [] }: WarmMachine): Promise<string> {
  const { name, properties } = chooseAccelerator();
  const files = await Promise.all([...programs(), ...filesOf(config), ...further].map(identityOf));
  const version = typeof NEPHOS_VERSION === 'string' ? NEPHOS_VERSION : 'development';
  return keyOf(shapeOf(config), initramfsId, {
    version,
    accelerator: JSON.stringify([name, properties]),
    files,
  });
}

/** Returns the digest of a shape and facts. */
export function keyOf(shape: unknown, initramfsId: string, host: HostFacts): string {
  return createHash('sha256')
    .update(JSON.stringify([FORMAT, shape, initramfsId, host]))
    .digest('hex');
}

/**
 * Returns the members of a configuration that shape the guest: without those that a restore replaces (consoles, forwards, vsock socket,
 * shared directories), and without the path of the initramfs.
 */
export function shapeOf(config: VmConfigInput): unknown {
  const { serial, console, initramfs, net, vsock, fs, ...rest } = config;
  return {
    ...rest,
    consoles: [serial?.mode, console?.mode],
    initramfs: initramfs !== undefined && initramfs !== null,
    net: net?.map((one) => ({ ...one, forwards: undefined })),
    fs: fs?.map((one) => ({ ...one, directory: undefined })),
    vsock: vsock && { ...vsock, socket: '' },
  };
}

function filesOf({ kernel, disks = [] }: VmConfigInput): string[] {
  const paths = [kernel?.path, ...(disks ?? []).map(({ path }) => path)];
  return paths.filter((path) => typeof path === 'string');
}

/** QEMU and the VMM: a VMM that is installed again has another bundle, also with the same version. */
function programs(): string[] {
  const vmm = ownExecutable();
  const qemu = findProgram('qemu-system-x86_64', process.env['NEPHOS_QEMU']);
  return [...(qemu === undefined ? [] : [qemu]), vmm, join(vmm, '..', '..', 'dist', 'cloud-hypervisor.cjs')];
}

/** Returns the identity of a file's content: each write changes the time of its last change. A missing file has none. */
async function identityOf(path: string): Promise<string> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  if (found === undefined) return `${path}: none`;
  const { dev, ino, size, mtimeNs } = found;
  return [path, dev, ino, size, mtimeNs].join(':');
}
