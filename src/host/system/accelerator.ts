import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { reasonOf } from '../../util/errno.ts';

/*
 * Facilities of the host beside disks, networks, consoles and memory: the accelerator, processors, users, VFIO devices,
 * SGX, the event monitor and the resource usage of processes.
 *
 * Invariants: each check reads the host and changes nothing; an error names the file and the remedy.
 */

/** QEMU's accelerator and its options. */
export interface Accelerator {
  readonly name: 'kvm' | 'hvf' | 'tcg';
  readonly properties: Readonly<Record<string, string>>;
  /** reason why hardware virtualization is not used; undefined where it is, or where the user chose the accelerator */
  readonly reason?: string | undefined;
  /**
   * Linux must trust the machine's timer (no_timer_check) instead of counting its ticks, which fails on a busy host: under
   * emulation, unless `NEPHOS_TIMER_CHECK` is `on`
   */
  readonly skipsTimerCheck: boolean;
}

/**
 * Chooses KVM only where /dev/kvm can be opened and the processor has vmx or svm: in a paravirtual guest /dev/kvm may open, and
 * a stock kernel then never boots. `NEPHOS_ACCEL` (kvm, hvf, tcg) overrides.
 * @throws where the override has another value
 */
export function chooseAccelerator(env: NodeJS.ProcessEnv = process.env): Accelerator {
  const override = env['NEPHOS_ACCEL'];
  if (override !== undefined && override !== '') return named(override, env);
  if (process.platform === 'darwin') return named('hvf', env);
  const reason = whyNotKvm();
  return reason === undefined ? named('kvm', env) : { ...named('tcg', env), reason };
}

function whyNotKvm(): string | undefined {
  const problem = whyClosed('/dev/kvm');
  if (problem !== undefined) return problem;
  return hasVirtualization() ? undefined : 'the processor of this host shows neither vmx nor svm';
}

function named(name: string, env: NodeJS.ProcessEnv): Accelerator {
  switch (name) {
    case 'kvm':
    case 'hvf':
      return { name, properties: {}, skipsTimerCheck: false };
    case 'tcg':
      return { name, properties: { thread: 'multi' }, skipsTimerCheck: env['NEPHOS_TIMER_CHECK'] !== 'on' };
    default:
      throw new Error(`NEPHOS_ACCEL=${name}: expected kvm, hvf or tcg`);
  }
}

function hasVirtualization(): boolean {
  try {
    return /^flags\s*:.*\b(?:vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch {
    return false;
  }
}

/** Returns the reason why a device cannot be opened; undefined where it can. */
function whyClosed(path: string): string | undefined {
  try {
    closeSync(openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
    return undefined;
  } catch (error) {
    return `${path}: ${reasonOf(error)}`;
  }
}
