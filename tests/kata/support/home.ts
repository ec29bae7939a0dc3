import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Programs of Kata Containers and around it that `KATA_HOME/bin` holds; docs/kubernetes.md says how they are built. */
const BUILT = ['containerd-shim-kata-v2', 'kata-runtime', 'kata-agent', 'virtiofsd', 'crictl'] as const;

/** Programs of Debian's packages, by the package. */
const INSTALLED = {
  containerd: 'containerd',
  ctr: 'containerd',
  socat: 'socat',
  'mkfs.ext4': 'e2fsprogs',
  losetup: 'mount',
  unshare: 'util-linux',
  ip: 'iproute2',
} as const;

const CNI_FOLDERS = ['/usr/lib/cni', '/opt/cni/bin'];
const CNI_PLUGINS = ['bridge', 'host-local', 'loopback'] as const;

/** The folder that `KATA_HOME` names. */
export const KATA_HOME = process.env['KATA_HOME'] ?? '';

/** Path of a program that was built. */
export function built(name: (typeof BUILT)[number]): string {
  return join(KATA_HOME, 'bin', name);
}

/** `PATH` with the programs that were built before those of the system. */
export const KATA_PATH = [join(KATA_HOME, 'bin'), process.env['PATH'] ?? ''].join(delimiter);

/** Kata's runtimes that were built: the one in Go always, runtime-rs where its shim is there too. */
export function builtRuntimes(): readonly ('go' | 'rs')[] {
  return isProgram(join(KATA_HOME, 'bin/containerd-shim-kata-rs-v2')) ? ['go', 'rs'] : ['go'];
}

/** The folder with CNI's plug-ins. */
export function cniFolder(): string | undefined {
  return CNI_FOLDERS.find((folder) => CNI_PLUGINS.every((name) => isProgram(join(folder, name))));
}

/** Returns the requirements of Kata's tests that this machine lacks, each as a sentence. */
export function missingForKata(): string[] {
  const missing: string[] = [];
  if (process.getuid?.() !== 0) missing.push('they must be run as root: pods need namespaces and cgroups');
  if (KATA_HOME === '') missing.push('KATA_HOME is not set: it names the folder with bin/kata-runtime');
  else {
    for (const name of BUILT) {
      if (!isProgram(built(name)))
        missing.push(`${built(name)} is missing: docs/kubernetes.md says how it is built`);
    }
  }
  for (const [name, from] of Object.entries(INSTALLED)) {
    if (!isInPath(name)) missing.push(`${name} is not in the PATH: apt-get install ${from}`);
  }
  if (cniFolder() === undefined) {
    missing.push(
      `no CNI plug-ins in ${CNI_FOLDERS.join(' or ')}: apt-get install containernetworking-plugins`,
    );
  }
  if (!existsSync('/dev/net/tun')) missing.push('/dev/net/tun is missing: modprobe tun');
  return missing;
}

function isInPath(name: string): boolean {
  return KATA_PATH.split(delimiter).some((folder) => isProgram(join(folder, name)));
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
