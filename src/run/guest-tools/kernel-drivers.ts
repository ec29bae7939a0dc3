import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KERNEL_HEAD_BYTES, kernelKind } from '../../host/kernel/bzimage.ts';
import type { GuestTools } from './guest-tools.ts';
import { MODULE_GROUPS, readModules, type KernelModule, type ModuleGroup } from './modules.ts';

/** Modules that the kernel of a boot loads. */
export interface KernelDrivers {
  /** names for each group, in the order of loading */
  readonly groups: Readonly<Record<ModuleGroup, readonly string[]>>;
  /** names that each boot loads first */
  readonly first: readonly string[];
  /** files that the tools lack */
  readonly files: readonly KernelModule[];
}

/** Returns the modules of the kernel of the tools. */
export function driversOfTools({ modules }: Pick<GuestTools, 'modules'>): KernelDrivers {
  return { groups: modules, first: [], files: [] };
}

/** The bus and the console of a VM: many kernels have them built in. */
const CONSOLE = ['virtio_pci', 'virtio_console'];

const NONE: KernelDrivers = { groups: { base: [], network: [], volumes: [] }, first: [], files: [] };

/** Folders with modules of installed kernels. */
const FOLDERS = ['/lib/modules', '/usr/lib/modules'];

/**
 * Returns the modules of a kernel of the user: those of the same release on this host, as `make modules_install` and distributions
 * install them. A kernel without any must have the drivers built in.
 */
export async function driversOfKernel(
  kernel: string,
  tools: GuestTools,
  { signal, folders = FOLDERS }: { readonly signal: AbortSignal; readonly folders?: readonly string[] },
): Promise<KernelDrivers> {
  const release = await kernelRelease(kernel).catch(() => undefined);
  if (release === undefined) return NONE;
  if (release === tools.release) return driversOfTools(tools);
  for (const folder of folders.map((one) => join(one, release))) {
    const found = await stat(join(folder, 'kernel')).catch(() => undefined);
    if (found === undefined) continue;
    const { files, groups } = await readModules(folder, { ...MODULE_GROUPS, console: CONSOLE }, signal);
    return { files, groups, first: groups.console };
  }
  return NONE;
}

// offsets of the setup header: Documentation/arch/x86/boot.rst of Linux
const VERSION_OFFSET = 0x20e;
const SETUP_START = 0x200;
const RELEASE_MAX = 256;

/** Returns the release of a Linux bzImage, e.g. `6.12.95-amd64`; undefined for another file. @throws an error of the file system */
export async function kernelRelease(path: string): Promise<string | undefined> {
  await using file = await open(path, 'r');
  const { buffer: head, bytesRead } = await file.read(
    Buffer.alloc(KERNEL_HEAD_BYTES),
    0,
    KERNEL_HEAD_BYTES,
    0,
  );
  if (bytesRead < KERNEL_HEAD_BYTES || kernelKind(head) !== 'bzimage') return undefined;
  const at = SETUP_START + head.readUInt16LE(VERSION_OFFSET);
  const { buffer, bytesRead: length } = await file.read(Buffer.alloc(RELEASE_MAX), 0, RELEASE_MAX, at);
  const release = /^[^ \0]+/.exec(buffer.toString('latin1', 0, length))?.[0];
  // it becomes a part of a path
  return release !== undefined && /^[\w.+~-]+$/.test(release) && !/^\.+$/.test(release) ? release : undefined;
}
