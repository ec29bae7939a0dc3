/** The root file system of a Debian 13 guest, and the virtiofsd that it holds. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { REPO } from './vmm.ts';

let found: string | undefined;

/**
 * Returns the path of a Debian 13 root file system, which scripts/guest/debian.sh makes in the cache where it is missing: a
 * minute. Boot a copy of it ({@link copyDebian}).
 * @throws with what the script misses
 */
export function debianRoot(): string {
  if (found !== undefined) return found;
  const { status, stdout, stderr } = spawnSync('bash', [join(REPO, 'scripts/guest/debian.sh')], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`the Debian 13 root file system is missing: ${stderr.trim()}`);
  return (found = stdout.trim());
}

/** Copies the root file system with its owners and modes. The caller removes the copy. @returns `target` */
export function copyDebian(target: string): string {
  execFileSync('cp', ['-a', '--reflink=auto', debianRoot(), target]);
  return target;
}

/** Returns the command of the virtiofsd that is written in Rust: of this machine, or of the Debian 13 root file system. */
export function virtiofsdCommand(): string[] {
  const own = '/usr/libexec/virtiofsd';
  if (existsSync(own)) return [own];
  // its libraries are newer than those of Debian 12
  const root = debianRoot();
  const libraries = join(root, 'usr/lib/x86_64-linux-gnu');
  return [
    join(root, 'lib64/ld-linux-x86-64.so.2'),
    '--library-path',
    libraries,
    join(root, 'usr/libexec/virtiofsd'),
  ];
}

let disk: string | undefined;

/**
 * Returns the path of a Debian 13 disk image (qcow2), which scripts/guest/debian-disk.sh makes in the cache where it is missing: a minute.
 * @throws with what the script misses
 */
export function debianDisk(): string {
  if (disk !== undefined) return disk;
  const { status, stdout, stderr } = spawnSync('bash', [join(REPO, 'scripts/guest/debian-disk.sh')], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`the Debian 13 disk image is missing: ${stderr.trim()}`);
  return (disk = stdout.trim());
}
