import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { findProgram, programProblem, versionProblem } from '../../../qemu/process/program.ts';
import { reasonOf } from '../../../util/errno.ts';
import { missing, ok, warning, type Check } from './check.ts';

const run = promisify(execFile);

/** Time limit of a program that prints its version, in milliseconds. */
const PROGRAM_MS = 10_000;

/** The oldest Node that works. */
const OLDEST_NODE = [20, 19] as const;

/** Checks Node. */
export function checkNode(version = process.versions.node): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const isOld = major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1]);
  if (!isOld) return ok('Node', version);
  return missing('Node', `${version} is too old`, `install Node ${OLDEST_NODE.join('.')} or newer`);
}

/** Checks QEMU: its path, version and user-mode network. */
export async function checkQemu(env: NodeJS.ProcessEnv = process.env): Promise<Check[]> {
  const override = env['NEPHOS_QEMU'];
  const path = findProgram('qemu-system-x86_64', override);
  if (path === undefined) return [absentQemu(override)];
  try {
    const { stdout } = await run(path, ['--version'], { timeout: PROGRAM_MS });
    const [text = '', major, minor, micro] = /version (\d+)\.(\d+)(?:\.(\d+))?/.exec(stdout) ?? [];
    if (text === '') return [missing('QEMU', `${path} prints no version`, INSTALL_QEMU)];
    const problem = versionProblem([Number(major), Number(minor), Number(micro ?? 0)]);
    if (problem !== undefined) return [missing('QEMU', `${path}: ${problem}`, INSTALL_QEMU)];
    return [ok('QEMU', `${path}, ${text}`), await checkUserNetwork(path)];
  } catch (error) {
    return [missing('QEMU', `${path}: ${firstLine(reasonOf(error))}`, INSTALL_QEMU)];
  }
}

const INSTALL_QEMU =
  'apt-get install qemu-system-x86 qemu-system-data qemu-utils (Debian 12: from bookworm-backports); or set NEPHOS_QEMU';

function absentQemu(override: string | undefined): Check {
  const found =
    override === undefined
      ? 'qemu-system-x86_64 is not on the PATH'
      : `NEPHOS_QEMU=${override}: ${programProblem(override)}`;
  return missing('QEMU', found, INSTALL_QEMU);
}

async function checkUserNetwork(path: string): Promise<Check> {
  const subject = 'user network';
  const { stdout } = await run(path, ['-netdev', 'help'], { timeout: PROGRAM_MS });
  if (/^user$/m.test(stdout)) return ok(subject, 'this QEMU has it');
  return warning(
    subject,
    'this QEMU has no user-mode network',
    'install a QEMU with slirp, or use --network none',
  );
}

/** A program, with its purpose and the package that has it. */
interface Tool {
  readonly name: string;
  readonly args?: readonly string[];
  readonly purpose: string;
  readonly debian: string;
  readonly isNeeded: boolean;
}

const TOOLS: readonly Tool[] = [
  {
    name: 'tar2sqfs',
    purpose: 'layers of OCI images',
    debian: 'squashfs-tools-ng',
    isNeeded: true,
  },
  { name: 'zstd', purpose: 'layers in zstd', debian: 'zstd', isNeeded: false },
  { name: 'qemu-img', purpose: 'overlays of disk images', debian: 'qemu-utils', isNeeded: false },
  { name: 'setpriv', purpose: 'end of VMs with their owner', debian: 'util-linux', isNeeded: true },
  { name: 'ssh', purpose: 'nephos ssh', debian: 'openssh-client', isNeeded: false },
];

/** Checks the programs that Nephos starts. */
export function checkTools(find = (name: string) => findProgram(name)): Check[] {
  return TOOLS.map(({ name, purpose, debian, isNeeded }) => {
    const path = find(name);
    if (path !== undefined) return ok(name, `${path}, for ${purpose}`);
    const found = `is not on the PATH; needed for ${purpose}`;
    const cure = `apt-get install ${debian}`;
    return isNeeded ? missing(name, found, cure) : warning(name, found, cure);
  });
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}
