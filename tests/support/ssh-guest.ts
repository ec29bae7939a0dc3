import { execFileSync } from 'node:child_process';
import { appendFileSync, copyFileSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cpioArchive, type ArchiveEntry } from '../../src/run/guest-tools/cpio.ts';
import { INITRAMFS_WITH_TOOLS } from './guest.ts';

/** Command of the guest's shell that starts an SSH server on port 22 of the vsock; root has no password. */
export const START_SSH =
  'socat VSOCK-LISTEN:22,fork EXEC:"/usr/sbin/dropbear -i -B -W 262144 -r /etc/dropbear/key" 2>/dev/null &';

/** Makes the initramfs of the demo guest with this host's dropbear, sftp-server and further programs in a folder. Returns its path. */
export function sshInitramfs(folder: string, ...further: readonly string[]): string {
  const key = join(folder, 'key');
  execFileSync('dropbearkey', ['-t', 'ed25519', '-f', key], { stdio: 'ignore' });
  const programs = ['/usr/sbin/dropbear', '/usr/lib/openssh/sftp-server', ...further];
  const missing = programs.find((path) => !existsSync(path));
  if (missing !== undefined) throw new Error(`${missing} is missing: npm run setup`);
  const entries = new Map<string, ArchiveEntry>();
  const add = (path: string, content: Buffer, mode: number): void => {
    for (const parent of parentsOf(path)) entries.set(parent, { kind: 'directory', path: parent });
    entries.set(path, { kind: 'file', path, content, mode });
  };
  for (const path of programs.flatMap((program) => [program, ...librariesOf(program)]))
    add(path.slice(1), readFileSync(path), 0o755);
  add('usr/lib/sftp-server', readFileSync('/usr/lib/openssh/sftp-server'), 0o755);
  add('etc/dropbear/key', readFileSync(key), 0o600);
  rmSync(key);
  const target = join(folder, 'initramfs');
  copyFileSync(INITRAMFS_WITH_TOOLS, target);
  appendFileSync(target, cpioArchive([...entries.values()]));
  return target;
}

function librariesOf(program: string): string[] {
  const text = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...text.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path);
}

/** Returns the folders of a path, the outermost first. */
function parentsOf(path: string): string[] {
  const parent = dirname(path);
  return parent === '.' ? [] : [...parentsOf(parent), parent];
}
