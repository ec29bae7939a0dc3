import { randomBytes } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder } from '../../host/files/cache-folder.ts';
import { claimPrivateFolder } from '../../host/files/private-folder.ts';
import { buildTools, removeBuildFiles, type BuiltTools, type ToolsProgress } from './build-tools.ts';
import { GuestToolsError } from './errors.ts';
import { reasonOf } from '../../util/errno.ts';
import { lockPath } from '../../native/file-lock.ts';

/*
 * Guest tools: kernel and initramfs of guests whose image has no init system (OCI images, directories, kernels alone).
 *
 *   guest-tools.ts     the cache of the tools
 *   fix-dropbear.ts    a fix of dropbear's session channels
 *   build-tools.ts     makes them from Debian packages: busybox, dropbear, sftp-server, a kernel with its modules
 *   ../../guest/helper/  the program /bin/enter, in machine code: process 1, steps of a boot, entering the image's tree
 *   boot-steps.ts      pure: a boot as steps of the helper
 *   boot-initramfs.ts  the initramfs of one VM: the tools, and the description of its boot
 *   layer-disk.ts      layers of an image as the partitions of one disk
 *   enter-command.ts   pure: commands for the SSH server of the guest
 *
 * The cache is `<cache>/guest-tools/<TOOLS_REVISION>/` with `vmlinuz`, `initramfs` and `manifest.json`. A folder is complete from the moment
 * that it has its name.
 *
 * Invariants: nothing is written into an image. The cache folder belongs to this user alone. Files of the cache never change.
 */

/** Digest of all that the tools have beside packages; guest-tools.test.ts compares it, and has the new one after a change. */
export const TOOLS_REVISION = '286cb760e9b9';

/** Kernel and initramfs. Paths are absolute. */
export interface GuestTools extends BuiltTools {
  /** bzImage */
  readonly kernel: string;
  /** uncompressed archive; it needs a second one with the description of a boot (boot-initramfs.ts) */
  readonly initramfs: string;
}

/** Options of {@link guestTools}. */
export interface GuestToolsOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: ToolsProgress;
  /** Builds them again from the newest packages */
  readonly refresh?: boolean;
}

/** Content of `manifest.json`. */
interface Manifest extends BuiltTools {
  readonly version: 1;
  readonly sizes: { readonly vmlinuz: number; readonly initramfs: number };
}

/**
 * Returns the guest tools, which are made if they are not in the cache: up to a minute, with downloads.
 * @throws GuestToolsError that names what is missing on this host
 */
export async function guestTools(options: GuestToolsOptions = {}): Promise<GuestTools> {
  const folder = join(cacheFolder(), 'guest-tools');
  await claimPrivateFolder(folder).catch((error: unknown) => {
    throw new GuestToolsError(`guest tools: ${reasonOf(error)}`, { cause: error });
  });
  const place = join(folder, TOOLS_REVISION);
  const found = options.refresh === true ? undefined : await readTools(place);
  if (found !== undefined) return found;
  using _lock = await lockFolder(folder, options.signal);
  // another process may have made them meanwhile
  const others = options.refresh === true ? undefined : await readTools(place);
  if (others !== undefined) return others;
  await makeTools(folder, place, options);
  const made = await readTools(place);
  if (made === undefined) throw new GuestToolsError(`guest tools: ${place} is incomplete`);
  return made;
}

/** Returns the guest tools of the cache; undefined if {@link guestTools} has to make them. */
export function findGuestTools(): Promise<GuestTools | undefined> {
  return readTools(join(cacheFolder(), 'guest-tools', TOOLS_REVISION));
}

/** Name of the file whose lock a build holds. */
const LOCK = 'lock';

/** Time of one attempt to get the lock, in milliseconds; an abort is noticed between two. */
const ATTEMPT_MS = 200;

/** Waits for the lock of the cache: another process that builds the tools holds it for a minute or two. */
async function lockFolder(folder: string, signal: AbortSignal | undefined): Promise<Disposable> {
  for (;;) {
    signal?.throwIfAborted();
    const lock = await lockPath(join(folder, LOCK), { timeoutMs: ATTEMPT_MS });
    if (lock !== undefined) return lock;
  }
}

/** Reads finished tools; undefined if they are absent or damaged. */
async function readTools(place: string): Promise<GuestTools | undefined> {
  const [kernel, initramfs] = [join(place, 'vmlinuz'), join(place, 'initramfs')];
  try {
    const manifest = parseManifest(await readFile(join(place, 'manifest.json'), 'utf8'));
    const [kernelStatus, initramfsStatus] = await Promise.all([stat(kernel), stat(initramfs)]);
    const { sizes, release, fingerprint, modules, applets } = manifest;
    if (kernelStatus.size !== sizes.vmlinuz || initramfsStatus.size !== sizes.initramfs) return undefined;
    return { kernel, initramfs, release, fingerprint, modules, applets };
  } catch {
    return undefined;
  }
}

/** A manifest is written by `makeTools` alone, into a folder of this user. */
function parseManifest(text: string): Manifest {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return JSON.parse(text) as Manifest;
}

async function makeTools(
  folder: string,
  place: string,
  { signal, onProgress }: GuestToolsOptions,
): Promise<void> {
  const work = join(folder, `.building-${randomBytes(6).toString('hex')}`);
  await mkdir(work, { mode: 0o700 });
  try {
    const built = await buildTools(work, { signal, onProgress });
    const [vmlinuz, initramfs] = await Promise.all([
      stat(join(work, 'vmlinuz')),
      stat(join(work, 'initramfs')),
    ]);
    const manifest: Manifest = {
      version: 1,
      ...built,
      sizes: { vmlinuz: vmlinuz.size, initramfs: initramfs.size },
    };
    await writeFile(join(work, 'manifest.json'), JSON.stringify(manifest), { mode: 0o600 });
    await removeBuildFiles(work);
    await rm(place, { recursive: true, force: true });
    await rename(work, place);
    await removeOthers(folder, place);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Age of a folder that no other process is making any more, in milliseconds. */
const ABANDONED_MS = 3_600_000;

/** Removes tools of other revisions and builds that were killed. One of another revision may be in the making. */
async function removeOthers(folder: string, place: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const other = join(folder, name);
    if (other === place || name === LOCK) continue;
    const found = await stat(other).catch(() => undefined);
    if (found !== undefined && Date.now() - found.mtimeMs > ABANDONED_MS)
      await rm(other, { recursive: true, force: true });
  }
}
