import { createHash } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { codeOf } from '../../util/errno.ts';
import { SOCKET_PATH_MAX } from '../../native/unix-socket.ts';
import { VM_FILES } from '../record.ts';

/** Paths of the files of a VM directory. Sockets have paths that fit into a socket address (unix(7)). */
export type VmPaths = Readonly<Record<keyof typeof VM_FILES, string>> & {
  /** the VM directory */
  readonly directory: string;
};

/** Files that are sockets. */
export const SOCKETS = ['api', 'guest', 'console', 'control', 'run'] as const;

/** Space for the name of a socket below its directory, in bytes: `/console.sock`. */
const SOCKET_NAME_BYTES = 24;

/** Length of a path that leaves space for the directories of sockets, in bytes. */
const SHORT_BYTES = 40;

/** Directory of all VMs: `XDG_STATE_HOME/nephos/vms`, below `~/.local/state` by default. */
export function vmsDirectory(): string {
  const home = process.env['XDG_STATE_HOME'] ?? '';
  // a relative path must be ignored (XDG Base Directory Specification)
  return join(isAbsolute(home) ? home : join(homedir(), '.local/state'), 'nephos', 'vms');
}

/** Returns the paths of a VM directory that exists. `sockets` is the directory of its sockets. */
export function vmPaths(directory: string): VmPaths {
  return pathsWith(directory, linkedDirectory(join(directory, VM_FILES.sockets)) ?? directory);
}

/** Returns the paths of a new VM directory. */
export function newVmPaths(directory: string): VmPaths {
  return pathsWith(directory, socketDirectory(directory));
}

function pathsWith(directory: string, sockets: string): VmPaths {
  const isSocket = (file: string): boolean => SOCKETS.some((one) => one === file);
  const files = Object.entries(VM_FILES).map(([file, name]) => [
    file,
    join(isSocket(file) ? sockets : directory, name),
  ]);
  // one path for each member of the table
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return { ...(Object.fromEntries(files) as Record<keyof typeof VM_FILES, string>), directory, sockets };
}

function linkedDirectory(link: string): string | undefined {
  try {
    return readlinkSync(link);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Returns the directory of a VM's sockets: a short one where the path of the VM directory is too long for a socket address. */
function socketDirectory(directory: string): string {
  if (Buffer.byteLength(directory) + SOCKET_NAME_BYTES <= SOCKET_PATH_MAX) return directory;
  return join(shortHome(), createHash('sha256').update(directory).digest('hex').slice(0, 20));
}

/** Directory of this user with a short path: below `XDG_RUNTIME_DIR`, or else below the directory of temporary files. */
function shortHome(): string {
  const runtime = process.env['XDG_RUNTIME_DIR'] ?? '';
  if (isAbsolute(runtime) && Buffer.byteLength(runtime) <= SHORT_BYTES) return join(runtime, 'nephos');
  const temporary = Buffer.byteLength(tmpdir()) <= SHORT_BYTES ? tmpdir() : '/tmp';
  return join(temporary, `nephos-${process.geteuid?.() ?? 0}`);
}
