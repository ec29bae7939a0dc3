import { readFile } from 'node:fs/promises';
import { libc, loadLibc } from '../../native/libc.ts';
import { readProcess } from '../../native/process-copy.ts';
import { qemuUser } from './confinement.ts';

/** CAP_SYS_PTRACE (capabilities(7)) */
const SYS_PTRACE = 1n << 19n;

/** `ptrace_scope` of Yama: parents may access their children; only with the capability; never. */
const SCOPE = { parents: 1, capable: 2 } as const;

/** Facts that decide whether threads of this process may access the memory of a QEMU that it starts. */
export interface AccessFacts {
  /** effective capabilities of this process */
  readonly capabilities: bigint;
  /** value of /proc/sys/kernel/yama/ptrace_scope; 0 without Yama */
  readonly scope: number;
  /** QEMU runs as another user */
  readonly isOtherUser: boolean;
  /** a thread gives up capabilities that QEMU has */
  readonly dropsCapabilities: boolean;
}

/** Applies the rules of ptrace(2), access mode checking. */
export function isAccessible({ capabilities, scope, isOtherUser, dropsCapabilities }: AccessFacts): boolean {
  if ((capabilities & SYS_PTRACE) !== 0n) return scope <= SCOPE.capable;
  return scope <= SCOPE.parents && !isOtherUser && !dropsCapabilities;
}

/** Returns whether threads of this process may read and write the memory of a QEMU that it starts. */
export async function mayAccessMemory({
  dropsCapabilities,
}: Pick<AccessFacts, 'dropsCapabilities'>): Promise<boolean> {
  await loadLibc();
  if (!hasCalls()) return false;
  const status = await readFile('/proc/self/status', 'latin1');
  const effective = /^CapEff:\t([0-9a-f]+)$/m.exec(status)?.[1] ?? '0';
  const scope = Number(await readFile('/proc/sys/kernel/yama/ptrace_scope', 'latin1').catch(() => '0'));
  return isAccessible({
    capabilities: BigInt(`0x${effective}`),
    scope,
    isOtherUser: qemuUser() !== undefined,
    dropsCapabilities,
  });
}

/** Returns whether the calls exist: kernels can be built without them, and filters of containers can forbid them. */
function hasCalls(): boolean {
  const byte = Buffer.alloc(1);
  try {
    readProcess(process.pid, [{ address: libc().addressOf(byte), length: 1 }], Buffer.alloc(1));
    return true;
  } catch {
    return false;
  }
}
