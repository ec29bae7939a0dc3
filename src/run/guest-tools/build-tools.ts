import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { cacheFolder } from '../../host/files/cache-folder.ts';
import { GuestToolsError } from './errors.ts';
import { fixSessionClose } from './fix-dropbear.ts';
import { runProgram } from './host-program.ts';
import { MODULE_GROUPS, readModules, type KernelModules } from './modules.ts';
import { openPackages, type Packages } from './packages.ts';
import { toolsArchive, type ToolFiles } from './tools-archive.ts';

/** Packages with the programs of the tools. */
const TOOL_PACKAGES = ['busybox-static', 'dropbear-bin', 'openssh-sftp-server', 'libc6'] as const;

/** Meta package of the kernel; scripts/guest/build.sh keeps the package that it names. */
const KERNEL_PACKAGE = 'linux-image-cloud-amd64';

/** Release of Linux that Nephos is tested with; a newer one, then an older one, is used without it. */
const TESTED_KERNEL = '6.12.';

/** Most rounds of downloads until all libraries are there. */
const ROUNDS = 8;

/** Progress of the preparation, for a terminal. */
export type ToolsProgress = (step: 'packages' | 'kernel' | 'initramfs') => void;

/** Finished tools, in a folder. */
export interface BuiltTools {
  /** version of the kernel as `uname -r` prints it */
  readonly release: string;
  /** SHA-256 of kernel and initramfs */
  readonly fingerprint: string;
  readonly modules: KernelModules['groups'];
  /** paths of busybox's commands, e.g. `bin/ls` */
  readonly applets: readonly string[];
}

interface Build {
  readonly folder: string;
  readonly packages: Packages;
  readonly signal: AbortSignal | undefined;
}

/** Builds `vmlinuz` and `initramfs` in a new folder. Other files of the build stay in it. @throws GuestToolsError */
export async function buildTools(
  folder: string,
  { signal, onProgress }: { signal?: AbortSignal | undefined; onProgress?: ToolsProgress | undefined },
): Promise<BuiltTools> {
  if (process.arch !== 'x64')
    throw new GuestToolsError(`there are no guest tools for ${process.arch}: use an x86-64 host`);
  onProgress?.('packages');
  const packages = await openPackages(folder, [...TOOL_PACKAGES, KERNEL_PACKAGE], signal);
  const build = { folder, packages, signal };
  const root = join(folder, 'root');
  await unpack(build, await packages.download(TOOL_PACKAGES), root);
  await addLibraries(build, root);
  onProgress?.('kernel');
  const kernel = await unpackKernel(build);
  const modules = await readModules(kernel.modules, MODULE_GROUPS, signal);
  onProgress?.('initramfs');
  const archive = toolsArchive({ ...(await readPrograms(build, root)), modules: modules.files });
  const image = await readFile(kernel.image);
  await writeFile(join(folder, 'vmlinuz'), image, { mode: 0o600 });
  await writeFile(join(folder, 'initramfs'), archive, { mode: 0o600 });
  return {
    release: kernel.release,
    fingerprint: createHash('sha256').update(image).update(archive).digest('hex'),
    modules: modules.groups,
    applets: await listApplets(root),
  };
}

async function unpack({ signal }: Build, files: readonly string[], target: string): Promise<void> {
  await mkdir(target, { recursive: true });
  for (const file of files) await runProgram('dpkg-deb', ['-x', file, target], { signal });
}

/** Downloads the packages of missing libraries: those that the packages so far depend on, and so on. */
async function addLibraries(build: Build, root: string): Promise<void> {
  let names: readonly string[] = TOOL_PACKAGES;
  const seen = new Set<string>(names);
  for (let round = 0; round < ROUNDS; round += 1) {
    const missing = (await neededLibraries(build, root)).filter(({ path }) => path === undefined);
    if (missing.length === 0) return;
    const further = (await Promise.all(names.map((name) => build.packages.dependenciesOf(name)))).flat();
    names = [...new Set(further)]
      .filter((name) => name.startsWith('lib') || name.startsWith('zlib'))
      .filter((name) => !seen.has(name));
    if (names.length === 0) {
      throw new GuestToolsError(`no package has the library ${missing.map(({ name }) => name).join(', ')}`);
    }
    for (const name of names) seen.add(name);
    await unpack(build, await build.packages.download(names), root);
  }
}

interface NeededLibrary {
  readonly name: string;
  /** undefined if it is absent */
  readonly path: string | undefined;
}

const PROGRAMS = { dropbear: 'usr/sbin/dropbear', sftpServer: 'usr/lib/openssh/sftp-server' } as const;

/** Asks the dynamic linker of the unpacked packages for the libraries of the programs. */
async function neededLibraries({ signal }: Build, root: string): Promise<NeededLibrary[]> {
  const linker = await findLinker(root);
  const folders = await libraryFolders(root);
  const found = new Map<string, string | undefined>();
  for (const program of Object.values(PROGRAMS)) {
    const words = ['--inhibit-cache', '--library-path', folders.join(':'), '--list', join(root, program)];
    const listed = await runProgram({ path: linker }, words, { signal });
    for (const [, name = '', path] of listed
      .toString()
      .matchAll(/^\s*(\S+) => (?:not found|(\/.*) \(0x.*)$/gm)) {
      // the linker prints one of the host for a library that the packages lack
      found.set(name, path?.startsWith(root) === true ? path : undefined);
    }
  }
  return [...found].map(([name, path]) => ({ name, path }));
}

async function findLinker(root: string): Promise<string> {
  for (const folder of await libraryFolders(root)) {
    const name = (await readdir(folder)).find((one) => /^ld-linux-x86-64\.so\.2$|^ld-\d.*\.so$/.test(one));
    if (name !== undefined) return join(folder, name);
  }
  throw new GuestToolsError('the package libc6 has no dynamic linker');
}

async function libraryFolders(root: string): Promise<string[]> {
  const folders = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu'].map((name) => join(root, name));
  const checks = await Promise.all(
    folders.map((folder) =>
      readdir(folder).then(
        () => true,
        () => false,
      ),
    ),
  );
  return folders.filter((_, index) => checks[index]);
}

async function readPrograms(build: Build, root: string): Promise<Omit<ToolFiles, 'modules'>> {
  const libraries = await neededLibraries(build, root);
  const contents = libraries.map(async ({ name, path = '' }) => [name, await readFile(path)] as const);
  return {
    busybox: await readFile(await findBusybox(root)),
    dropbear: fixSessionClose(await readFile(join(root, PROGRAMS.dropbear))),
    sftpServer: await readFile(join(root, PROGRAMS.sftpServer)),
    dynamicLinker: await readFile(await findLinker(root)),
    libraries: new Map(await Promise.all(contents)),
  };
}

async function findBusybox(root: string): Promise<string> {
  for (const name of ['bin/busybox', 'usr/bin/busybox']) {
    const isThere = await readFile(join(root, name)).then(
      () => true,
      () => false,
    );
    if (isThere) return join(root, name);
  }
  throw new GuestToolsError('the package busybox-static has no program busybox');
}

/** Commands of busybox for a tree of its own; those for Debian's packages have no use there. */
async function listApplets(root: string): Promise<string[]> {
  const listed = (await runProgram({ path: await findBusybox(root) }, ['--list-full'])).toString();
  return listed
    .split('\n')
    .filter((path) => path !== '' && basename(path) !== 'busybox' && !/dpkg|rpm/.test(path));
}

interface Kernel {
  readonly image: string;
  readonly modules: string;
  readonly release: string;
}

async function unpackKernel(build: Build): Promise<Kernel> {
  const versions = await build.packages.versionsOf(KERNEL_PACKAGE);
  const version = versions.find((one) => one.startsWith(TESTED_KERNEL)) ?? versions[0] ?? '';
  const target = join(build.folder, 'kernel');
  await unpack(build, [await findKernelPackage(build, version)], target);
  const image = (await readdir(join(target, 'boot'))).find((name) => name.startsWith('vmlinuz-'));
  if (image === undefined)
    throw new GuestToolsError(`the package of ${KERNEL_PACKAGE} ${version} has no kernel`);
  const release = image.slice('vmlinuz-'.length);
  const bases = ['lib/modules', 'usr/lib/modules'].map((name) => join(target, name, release));
  const checks = await Promise.all(
    bases.map((path) =>
      readdir(path).then(
        () => true,
        () => false,
      ),
    ),
  );
  const modules = bases.find((_, index) => checks[index]) ?? '';
  return { image: join(target, 'boot', image), modules, release };
}

/** Returns the package that the set-up of the demo guest keeps, or downloads it. */
async function findKernelPackage({ packages, signal }: Build, version: string): Promise<string> {
  const kept = join(cacheFolder(), 'guest', `linux-image-${version}.deb`);
  const isKept = await runProgram('dpkg-deb', ['-f', kept, 'Package'], { signal }).then(
    () => true,
    () => false,
  );
  if (isKept) return kept;
  const names = await packages.dependenciesOf(KERNEL_PACKAGE, version);
  const name = names.find((one) => one.startsWith('linux-image-'));
  const [file] = name === undefined ? [] : await packages.download([name]);
  if (file === undefined) throw new GuestToolsError(`apt has no package of ${KERNEL_PACKAGE} ${version}`);
  return file;
}

/** Removes all but the finished files. */
export async function removeBuildFiles(folder: string): Promise<void> {
  const kept = new Set(['vmlinuz', 'initramfs', 'manifest.json']);
  for (const name of await readdir(folder)) {
    if (!kept.has(name)) await rm(join(folder, name), { recursive: true, force: true });
  }
}
