import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { constants, rmSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { ReplyBody, RequestBody } from './client.ts';
import { ForkError } from './errors.ts';

/*
 * Files of the clones of a running VM, and the changes to the configuration of each clone.
 *
 * A fork has one folder: `snapshot`, a copy of each writable disk at the time of the snapshot, and a folder for each clone with an overlay
 * for each of these disks, its sockets and its output. The folder is removed with the last clone.
 */

const run = promisify(execFile);

type Config = ReplyBody<'vm.info'>['config'];
type Disk = NonNullable<Config['disks']>[number];

/** Changes to the configuration of a clone. */
export type CloneOverrides = NonNullable<RequestBody<'vm.restore'>['overrides']>;

/** CIDs of clones: any from 3 to 2^32 - 2 (vsock(7)). */
const [CID_MIN, CID_MAX] = [3, 2 ** 32 - 1];

/** Time limit of qemu-img in milliseconds. */
const QEMU_IMG_MS = 60_000;

/** Folder of the clones of one fork. */
export interface ForkFolder {
  readonly path: string;
  /** Directory for the snapshot */
  readonly snapshot: string;
  /** Copies the writable disks; the VM must be paused. */
  readonly copyDisks: (config: Config) => Promise<void>;
  /** Makes the folder of a clone, and returns its overrides. */
  readonly prepareClone: (config: Config, index: number) => Promise<CloneOverrides>;
}

/**
 * Returns why a VM cannot be forked; undefined if it can. Resources that only the caller can make again for each clone must be in its
 * overrides: TAPs, for example.
 */
export function forkProblem(config: Config, overrides: CloneOverrides): string | undefined {
  const net = (config.net ?? []).find(
    ({ id, backend }) => backend !== 'user' && overrides.net?.some((one) => one.id === id) !== true,
  );
  if (net !== undefined) return `network ${net.id}: give each clone a TAP of its own in overrides.net`;
  const pmem = (config.pmem ?? []).find(({ discard_writes: isPrivate }) => !isPrivate);
  if (pmem !== undefined) return `pmem ${pmem.id}: clones would write to the same file`;
  const fs = (config.fs ?? []).find(({ directory }) => directory === undefined);
  if (fs !== undefined) return `file system ${fs.id}: its daemon cannot serve clones`;
  return undefined;
}

/** Makes the folder of a fork, with mode 0700. */
export async function makeForkFolder(): Promise<ForkFolder> {
  const path = await mkdtemp(join(tmpdir(), 'nephos-fork-'));
  const snapshot = join(path, 'snapshot');
  await mkdir(snapshot, { mode: 0o700 });
  return {
    path,
    snapshot,
    copyDisks: async (config) => {
      for (const disk of writableDisks(config)) await copyDisk(disk, copyOf(path, disk));
    },
    prepareClone: async (config, index) => {
      const folder = join(path, `${index}`);
      await mkdir(folder, { mode: 0o700 });
      for (const disk of writableDisks(config)) await makeOverlay(copyOf(path, disk), disk, folder);
      return cloneOverrides(config, folder);
    },
  };
}

/** Removes the folder of a fork. VMs that are restored from it have its snapshot open. */
export function removeForkFolder(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

function writableDisks({ disks }: Config): Disk[] {
  return (disks ?? []).filter(({ readonly }) => !readonly);
}

function copyOf(folder: string, { id }: Disk): string {
  return join(folder, `disk-${id ?? ''}`);
}

function overlayOf(folder: string, { id }: Disk): string {
  return join(folder, `${id ?? ''}.qcow2`);
}

/** Copies an image, without its data where the file system can share it. */
async function copyDisk(disk: Disk, target: string): Promise<void> {
  const { path, id } = disk;
  if (path === undefined) throw new ForkError(`disk ${id}: its daemon cannot serve clones`);
  const format = await formatOf(disk, path);
  await copyFile(path, target, constants.COPYFILE_FICLONE);
  if (format !== 'qcow2') return;
  const { stdout } = await qemuImg(['info', '-U', '--output=json', '-f', 'qcow2', path]);
  const backing = backingOf(stdout);
  if (backing === undefined) return;
  // a relative name would be looked for beside the copy
  await qemuImg([
    ...['rebase', '-u', '-f', 'qcow2', '-b', resolve(path, '..', backing.file)],
    ...(backing.format === undefined ? [] : ['-F', backing.format]),
    target,
  ]);
}

/** Starts of images that are not raw. */
const MAGICS = ['QFI\xfb', 'vhdxfile', 'conectix'];

/** Returns QEMU's name of an image's format. A guest can write any header to a raw disk, so a header alone does not prove a format. */
async function formatOf({ id, image_type: type = 'Unknown' }: Disk, path: string): Promise<string> {
  const known = FORMATS[type];
  if (known !== undefined) return known;
  await using file = await open(path);
  const { buffer } = await file.read(Buffer.alloc(8), 0, 8, 0);
  const start = buffer.toString('latin1');
  if (!MAGICS.some((magic) => start.startsWith(magic))) return 'raw';
  throw new ForkError(`disk ${id}: set its image_type: its header is that of another format than Raw`);
}

interface Backing {
  readonly file: string;
  readonly format: string | undefined;
}

/** Returns the backing file in the output of `qemu-img info`. */
function backingOf(json: string): Backing | undefined {
  const info: unknown = JSON.parse(json);
  if (typeof info !== 'object' || info === null) return undefined;
  const members = new Map<string, unknown>(Object.entries(info));
  const [file, format] = ['backing-filename', 'backing-filename-format'].map((name) => members.get(name));
  if (typeof file !== 'string') return undefined;
  return { file, format: typeof format === 'string' ? format : undefined };
}

async function makeOverlay(copy: string, disk: Disk, folder: string): Promise<void> {
  const format = await formatOf(disk, copy);
  await qemuImg(['create', '-q', '-f', 'qcow2', '-b', copy, '-F', format, overlayOf(folder, disk)]);
}

/** Formats of images by their names in QEMU. */
const FORMATS: Readonly<Record<string, string>> = {
  Raw: 'raw',
  Qcow2: 'qcow2',
  Vhdx: 'vhdx',
  FixedVhd: 'raw',
};

async function qemuImg(args: readonly string[]): Promise<{ readonly stdout: string }> {
  try {
    return await run('qemu-img', args, { timeout: QEMU_IMG_MS });
  } catch (error) {
    const reason = error instanceof Error ? error.message.trim() : String(error);
    throw new ForkError(`qemu-img ${args[0] ?? ''}: ${reason}`, { cause: error });
  }
}

/** Returns the resources of a clone that differ from those of the VM. */
export function cloneOverrides(config: Config, folder: string): CloneOverrides {
  const disks = writableDisks(config).map((disk) => ({
    id: disk.id ?? '',
    path: overlayOf(folder, disk),
    image_type: 'Qcow2' as const,
    backing_files: true,
  }));
  const net = (config.net ?? []).flatMap(({ id, backend, forwards }) =>
    backend === 'user' && id !== undefined
      ? [{ id, forwards: (forwards ?? []).map((one) => ({ ...one, host_port: 0 })) }]
      : [],
  );
  return {
    ...(disks.length > 0 && { disks }),
    ...(net.length > 0 && { net }),
    ...(config.vsock !== undefined && {
      vsock: { socket: join(folder, 'vsock.sock'), cid: randomInt(CID_MIN, CID_MAX) },
    }),
    ...consoleOverride(config, 'serial', folder),
    ...consoleOverride(config, 'console', folder),
  };
}

/** A PTY is new in each clone anyway. */
function consoleOverride(
  config: Config,
  which: 'serial' | 'console',
  folder: string,
): Pick<CloneOverrides, 'serial' | 'console'> {
  const { mode } = config[which];
  if (mode === 'File') return { [which]: { file: join(folder, `${which}.log`) } };
  if (mode === 'Socket') return { [which]: { socket: join(folder, `${which}.sock`) } };
  return {};
}
