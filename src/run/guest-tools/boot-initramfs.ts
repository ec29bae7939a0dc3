import { open, readFile } from 'node:fs/promises';
import { reasonOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';
import type { BootFiles, GuestSetup } from '../plan-run.ts';
import { bootSteps, moduleGroupsOf } from './boot-steps.ts';
import { cpioArchive, type ArchiveEntry } from './cpio.ts';
import type { GuestTools } from './guest-tools.ts';
import { driversOfTools, type KernelDrivers } from './kernel-drivers.ts';
import { TOOLS_FOLDER } from './tools-archive.ts';

/**
 * Words of the kernel's command line: the helper is process 1; the TSC stays the clock, also on a busy host that emulates the CPU, where
 * Linux would change to the ACPI timer, whose reads are slow.
 */
export const GUEST_KERNEL_ARGUMENTS = `rdinit=/${TOOLS_FOLDER}/bin/enter tsc=reliable`;

/** Log-in of other SSH programs than the owner process: a shell in the image's tree. */
export interface GuestLogin {
  /** `NAME=value` */
  readonly env: readonly string[];
  readonly workingDirectory: string;
  readonly user: string;
}

/** Boot of one VM. */
export interface GuestBoot {
  readonly tools: GuestTools;
  readonly setup: GuestSetup;
  readonly login?: GuestLogin | undefined;
  /** path of another kernel */
  readonly kernel?: string | undefined;
  /** modules of the kernel; those of the tools by default */
  readonly drivers?: KernelDrivers | undefined;
  /** path of the user's own initramfs, which is unpacked before the tools: its files are the image's tree */
  readonly initramfs?: string | undefined;
}

/**
 * Writes the initramfs of one VM to a new file with mode 0600, and returns the files to boot. Rejects with the system's reason, which
 * names the path.
 */
export async function writeBootFiles(path: string, boot: GuestBoot): Promise<BootFiles> {
  const parts = [
    ...(boot.initramfs === undefined ? [] : [await readInitramfs(boot.initramfs)]),
    await readFile(boot.tools.initramfs),
    bootArchive(boot),
  ];
  await using file = await open(path, 'wx', 0o600);
  for (const part of parts) {
    await file.writeFile(part);
    // an archive starts at a multiple of 4 bytes
    await file.writeFile(Buffer.alloc((4 - (part.length % 4)) % 4));
  }
  return { kernel: boot.kernel ?? boot.tools.kernel, initramfs: path, commandLine: GUEST_KERNEL_ARGUMENTS };
}

/** @throws RunError that names the path */
async function readInitramfs(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new RunError('invalid', `initramfs ${path}: ${reasonOf(error)}`, { cause: error });
  }
}

/** Makes the archive that describes one boot. */
export function bootArchive({ tools, setup, login, drivers, initramfs }: GuestBoot): Buffer {
  const { first, groups, files } = drivers ?? driversOfTools(tools);
  const modules = [...new Set([...first, ...moduleGroupsOf(setup).flatMap((group) => groups[group])])];
  const isBusyboxTree = setup.root.kind === 'none' && initramfs === undefined;
  return cpioArchive([
    ...(isBusyboxTree ? busyboxTree(tools.applets) : []),
    ...files.map(
      ({ name, content }) =>
        ({ kind: 'file', path: `${TOOLS_FOLDER}/modules/${name}.ko`, content, mode: 0o600 }) as const,
    ),
    { kind: 'file', path: `${TOOLS_FOLDER}/boot`, content: words(bootSteps(setup, modules)), mode: 0o600 },
    { kind: 'file', path: `${TOOLS_FOLDER}/etc/login`, content: words(loginSteps(login)), mode: 0o600 },
  ]);
}

function loginSteps(
  { env, workingDirectory, user }: GuestLogin = { env: [], workingDirectory: '/', user: '' },
): string[] {
  return ['image', 'run', 't', workingDirectory, user, `${env.length}`, ...env];
}

/** Encodes words, each ended by a NUL. */
function words(list: readonly string[]): Buffer {
  for (const word of list) if (word.includes('\0')) throw new RangeError(`${JSON.stringify(word)} has a NUL`);
  return Buffer.from(list.map((word) => `${word}\0`).join(''));
}

function busyboxTree(applets: readonly string[]): ArchiveEntry[] {
  // busybox reads no line without a password
  const passwd = 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n';
  return [
    // the root of an initramfs has mode 1777
    { kind: 'directory', path: '.' },
    { kind: 'directory', path: 'tmp', mode: 0o1777 },
    ...['etc', 'root', 'run', 'var', ...foldersOf(applets)].map(
      (path) => ({ kind: 'directory', path }) as const,
    ),
    ...applets.map((path) => ({ kind: 'link', path, target: `/${TOOLS_FOLDER}/bin/busybox` }) as const),
    { kind: 'file', path: 'etc/passwd', content: Buffer.from(passwd) },
    { kind: 'file', path: 'etc/group', content: Buffer.from('root:x:0:\nnobody:x:65534:\n') },
  ];
}

/** Returns the folders of paths, each before those in it. */
function foldersOf(paths: readonly string[]): string[] {
  const folders = paths.flatMap((path) => {
    const names = path.split('/').slice(0, -1);
    return names.map((_, index) => names.slice(0, index + 1).join('/'));
  });
  return [...new Set(folders)];
}
