/** Runs of bin/ch-remote against a VMM. */
import { execFile, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { join } from 'node:path';
import { REPO, type TestVmm } from './vmm.ts';

/** Exit code and output of a program. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one of the two commands of this project to its end. */
export function runCommand(command: 'cloud-hypervisor' | 'ch-remote', ...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(process.execPath, [join(REPO, 'bin', command), ...args], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

/** Runs ch-remote against a VMM. */
export function chRemote(vmm: TestVmm, ...args: string[]): Promise<Outcome> {
  return runCommand('ch-remote', '--api-socket', vmm.socket, ...args);
}

/** Runs ch-remote with file descriptors that it inherits as 3, 4 and so on. */
export function chRemoteWithFds(
  vmm: TestVmm,
  fds: readonly number[],
  ...args: string[]
): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [join(REPO, 'bin/ch-remote'), '--api-socket', vmm.socket, ...args], {
    stdio: ['ignore', 'pipe', 'pipe', ...fds],
    encoding: 'utf8',
  });
}
