import { NO_IGVM } from '../devices/payload/config.ts';
import { decode, DecodeError, laterMembers, membersWithoutEffect, unknownMembers } from '../schema/decode.ts';
import type { Struct } from '../schema/field.ts';
import type { Problem } from '../devices/common/rules.ts';
import { joinSome } from '../util/clip.ts';
import { checkVmConfig } from './checks.ts';
import { ConfigError } from './errors.ts';
import { VmConfig } from './vm-config.ts';

/*
 * Configuration of a whole VM, and the rules that join devices. Pure: nothing here reads the host.
 *
 *   vm-config.ts          the schema VmConfig, from the table of devices; merge.ts: with or without one device
 *   decode-vm-config.ts   JSON to a checked VmConfig, with warnings; from-words.ts: the same from flags
 *   checks.ts             rules of the whole VM; the other *-checks.ts: one subject each
 *   dialect.ts            differences between releases of Cloud Hypervisor that depend on the configuration
 *   answered-config.ts    the configuration as vm.info shows it
 *   items.ts              the devices of a configuration, as a list
 *
 * Invariant: a VmConfig that `decodeVmConfig` returned satisfies all rules. Errors are `ConfigError`, which names the member.
 */

/** A configuration, and warnings of members in the client's JSON that change nothing. */
export interface DecodedVmConfig {
  readonly config: VmConfig;
  readonly warnings: readonly string[];
}

/**
 * Decodes a configuration: types, defaults, then every rule that needs no facts of the host.
 * @throws ConfigError naming all problems, not only the first
 */
export function decodeVmConfig(json: unknown): DecodedVmConfig {
  const config = decodeShape(withoutPayload(json));
  validateVmConfig(config);
  return { config, warnings: warningsOf(VmConfig, json, config) };
}

/** Returns warnings of a client's JSON: unknown members, and members without effect. */
export function warningsOf(schema: Struct, json: unknown, value: unknown): string[] {
  const unknown = unknownMembers(schema, json);
  return [
    ...(unknown.length === 0 ? [] : [`unknown fields ignored: ${joinSome(unknown, ', ')}`]),
    ...membersWithoutEffect(schema, value),
  ];
}

/**
 * Checks a configuration whose members are checked one by one, e.g. one with an added device.
 * @throws ConfigError
 */
export function validateVmConfig(config: VmConfig): void {
  const later = laterMembers(VmConfig, config).map((member): Problem => ({
    kind: 'invalid',
    text: `not supported yet: ${member}`,
  }));
  const problems = [...later, ...checkVmConfig(config)];
  if (problems.length === 0) return;
  const kind = problems.every((problem) => problem.kind === 'duplicate') ? 'duplicate' : 'invalid';
  throw new ConfigError(
    kind,
    problems.map((problem) => problem.text),
  );
}

/** Splits `payload`, which current clients send, into the members of the contract. */
function withoutPayload(json: unknown): unknown {
  if (!isObject(json) || !isObject(json['payload'])) return json;
  const { kernel, firmware, cmdline, initramfs, igvm } = json['payload'];
  const given = (value: unknown): boolean => value !== undefined && value !== null;
  if (given(igvm)) throw new ConfigError('invalid', [`payload.igvm: ${NO_IGVM}`]);
  if (given(kernel) && given(firmware)) {
    throw new ConfigError('invalid', ['payload: kernel and firmware are both given']);
  }
  if (!given(kernel) && !given(firmware)) throw new ConfigError('invalid', ['payload: No bootitem provided']);
  return {
    ...json,
    kernel: { path: given(kernel) ? kernel : firmware },
    initramfs: given(initramfs) ? { path: initramfs } : undefined,
    cmdline: given(cmdline) ? { args: cmdline } : undefined,
  };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function decodeShape(json: unknown): VmConfig {
  try {
    return decode(VmConfig, json);
  } catch (error) {
    if (error instanceof DecodeError) throw new ConfigError('malformed', error.problems, { cause: error });
    throw error;
  }
}
