import { readFile, readdir } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { runProgram, type HostProgram } from './host-program.ts';

/*
 * Modules of a Debian kernel: their files, unpacked, and the order in which they must be loaded. The package has no list of
 * dependencies; each module names its own (`depends=` in its section .modinfo).
 */

/** Kernel modules that a feature of a guest needs, beside their dependencies. One that is built in has no file. */
export const MODULE_GROUPS = {
  base: ['virtio_blk', 'squashfs', 'overlay'],
  network: ['virtio_net', 'virtio-rng'],
  volumes: ['virtiofs'],
} as const;

export type ModuleGroup = keyof typeof MODULE_GROUPS;

/** A module's file. */
export interface KernelModule {
  /** name with `_` for `-` */
  readonly name: string;
  readonly content: Buffer;
}

/** Modules of a kernel. */
export interface KernelModules<G extends string = ModuleGroup> {
  /** all files, once each */
  readonly files: readonly KernelModule[];
  /** names for each group, in the order of loading */
  readonly groups: Readonly<Record<G, readonly string[]>>;
}

/** Reads groups of modules with their dependencies. `folder` has the folder `kernel` with the modules of a kernel. */
export async function readModules<G extends string>(
  folder: string,
  wanted: Readonly<Record<G, readonly string[]>>,
  signal?: AbortSignal,
): Promise<KernelModules<G>> {
  const paths = new Map<string, string>();
  for (const entry of await readdir(join(folder, 'kernel'), { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && entry.name.includes('.ko')) {
      paths.set(moduleName(entry.name), join(entry.parentPath, entry.name));
    }
  }
  const contents = new Map<string, Buffer>();
  const orders: Record<string, string[]> = {};
  for (const [group, names] of Object.entries<readonly string[]>(wanted)) {
    const order: string[] = [];
    for (const name of names) await addModule(moduleName(name), order);
    orders[group] = order;
  }
  return {
    files: [...contents].map(([name, content]) => ({ name, content })),
    groups: orders as Record<G, string[]>,
  };

  async function addModule(name: string, order: string[]): Promise<void> {
    const path = paths.get(name);
    if (path === undefined || order.includes(name)) return;
    const content = contents.get(name) ?? (await readModule(path, signal));
    contents.set(name, content);
    for (const needed of dependenciesOf(content)) await addModule(needed, order);
    order.push(name);
  }
}

function moduleName(file: string): string {
  return basename(file)
    .replace(/\.ko(?:\.\w+)?$/, '')
    .replaceAll('-', '_');
}

/** Programs that unpack modules. */
const UNPACKERS: ReadonlyMap<string, HostProgram> = new Map([
  ['.gz', 'gzip'],
  ['.xz', 'xz'],
  ['.zst', 'zstd'],
]);

async function readModule(path: string, signal: AbortSignal | undefined): Promise<Buffer> {
  if (path.endsWith('.ko')) return readFile(path);
  return runProgram(UNPACKERS.get(extname(path)) ?? 'xz', ['-dc', path], { signal });
}

/** Returns the modules that a module names in `depends=`. */
export function dependenciesOf(module: Buffer): string[] {
  const start = module.indexOf('\0depends=');
  if (start < 0) return [];
  const from = start + '\0depends='.length;
  const list = module.toString('latin1', from, module.indexOf(0, from));
  return list
    .split(',')
    .filter((name) => name !== '')
    .map(moduleName);
}
