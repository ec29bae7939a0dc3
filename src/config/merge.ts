import type { AnyConfig, Device } from '../devices/device.ts';
import { ConfigError } from './errors.ts';
import type { VmConfig } from './vm-config.ts';

/**
 * Returns the configuration with one more device, after those of its kind.
 * @throws ConfigError if a VM has the device at most once, and has it already
 */
export function withDevice(config: VmConfig, { member, many }: Device, part: AnyConfig): VmConfig {
  const present = memberOf(config, member);
  if (many) return { ...config, [member]: [...listOf(present), part] };
  if (present !== undefined) throw new ConfigError('invalid', [`${member}: the VM has one already`]);
  return { ...config, [member]: part };
}

/** Returns the configuration without the device with an id; unchanged if there is none. */
export function withoutDevice(config: VmConfig, { member, many }: Device, id: string): VmConfig {
  const present = memberOf(config, member);
  if (many) {
    const rest = listOf(present).filter((part) => idOf(part) !== id);
    return { ...config, [member]: rest.length === 0 ? undefined : rest };
  }
  return idOf(present) === id ? { ...config, [member]: undefined } : config;
}

function memberOf(config: VmConfig, member: string): unknown {
  return Object.entries(config).find(([name]) => name === member)?.[1];
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function idOf(part: unknown): unknown {
  return typeof part === 'object' && part !== null && 'id' in part ? part.id : undefined;
}
