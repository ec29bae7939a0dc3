import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { reasonOf } from '../../util/errno.ts';

/** QEMU's accelerator and what it is given. */
export interface Accelerator {
  readonly name: 'kvm' | 'hvf' | 'tcg';
  readonly properties: Readonly<Record<string, string>>;
  /** why the processor's virtualization is not used; undefined where it is, or where the user wants it so */
  readonly reason?: string | undefined;
  /**
   * Linux is to trust the machine's timer, instead of counting its ticks while the host may be busy: under emulation, unless
   * `NEPHOS_TIMER_CHECK` is `on`
   */
  readonly skipsTimerCheck: boolean;
}

/**
 * KVM only where /dev/kvm opens and the processor has vmx or svm: in a paravirtual guest /dev/kvm may open and
 * a stock kernel then spin for ever. `NEPHOS_ACCEL` (kvm, hvf, tcg) overrides.
 * @throws where the override names none of them
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

/** Why a device cannot be opened; undefined where it can. */
function whyClosed(path: string): string | undefined {
  try {
    closeSync(openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
    return undefined;
  } catch (error) {
    return `${path}: ${reasonOf(error)}`;
  }
}
