import { closeSync, openSync, readFileSync } from 'node:fs';

/** QEMU's accelerator and what it is given. */
export interface Accelerator {
  readonly name: 'kvm' | 'hvf' | 'tcg';
  readonly properties: Readonly<Record<string, string>>;
}

/**
 * KVM only where /dev/kvm opens and the processor has vmx or svm: in a paravirtual guest /dev/kvm may open and
 * a stock kernel then spin for ever. `NEPHOS_ACCEL` (kvm, hvf, tcg) overrides.
 * @throws where the override names none of them
 */
export function chooseAccelerator(env: NodeJS.ProcessEnv = process.env): Accelerator {
  const override = env['NEPHOS_ACCEL'];
  if (override !== undefined && override !== '') return named(override);
  if (process.platform === 'darwin') return named('hvf');
  return named(hasVirtualization() && opens('/dev/kvm') ? 'kvm' : 'tcg');
}

function named(name: string): Accelerator {
  switch (name) {
    case 'kvm':
    case 'hvf':
      return { name, properties: {} };
    case 'tcg':
      return { name, properties: { thread: 'multi' } };
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

function opens(path: string): boolean {
  try {
    closeSync(openSync(path, 'r+'));
    return true;
  } catch {
    return false;
  }
}
