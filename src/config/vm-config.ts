import { DEVICES, positionIn, type DeviceFields } from '../devices/index.ts';
import {
  CmdLineConfig,
  InitramfsConfig,
  KernelConfig,
  NO_IGVM,
  PayloadConfig,
} from '../devices/payload/config.ts';
import {
  decode,
  DecodeError,
  encode,
  laterMembers,
  membersWithoutEffect,
  unknownMembers,
} from '../schema/decode.ts';
import {
  beyond,
  defaulted,
  optional,
  replaceable,
  struct,
  type InputOf,
  type Struct,
  type ValueOf,
} from '../schema/field.ts';
import { flag, nested } from '../schema/kinds.ts';
import { withAbsolutePaths } from '../schema/paths.ts';
import { joinSome } from '../util/clip.ts';
import { checkVmConfig } from './checks.ts';
import type { Problem } from '../devices/common/rules.ts';
import { dialectOf } from './dialect.ts';
import { ConfigError } from './errors.ts';

export { dialectOf } from './dialect.ts';

/** A whole virtual machine: checked, every default filled in. */
export interface VmConfig extends ValueOf<typeof VmConfig> {}
/** A virtual machine as a client may send it, and as answers show it: members with a default may be left out. */
export interface VmConfigInput extends InputOf<typeof VmConfig> {}

/** Members that are no devices, and their positions among the devices' (`DeviceOrder.config`). */
const OTHER_MEMBERS = {
  // current clients send `payload` instead
  kernel: { position: 30, field: replaceable(nested(KernelConfig)) },
  initramfs: { position: 40, field: optional(nested(InitramfsConfig)) },
  cmdline: { position: 50, field: defaulted(nested(CmdLineConfig), { args: '' }) },
  // kept beside the members that it is split into, so that answers are in the dialect of the request
  payload: { position: 210, field: beyond(optional(nested(PayloadConfig))) },
  gdb: {
    position: 300,
    field: beyond(
      optional(flag('A debugger may stop the guest, on the socket of --gdb; it waits for one at boot')),
    ),
  },
} as const;

type OtherFields = { readonly [M in keyof typeof OTHER_MEMBERS]: (typeof OTHER_MEMBERS)[M]['field'] };

/** Members of the contract in its order, then those of current versions and ours. */
export const VmConfig = struct({
  name: 'VmConfig',
  doc: 'A virtual machine',
  fields: configFields(),
  aliases: { 'generic-vhost-user': 'generic_vhost_user' },
});

function configFields(): DeviceFields & OtherFields {
  const devices = DEVICES.filter((device) => device.derive === undefined).map((device) => {
    return { member: device.member, field: device.field, position: positionIn('config', device) };
  });
  const others = Object.entries(OTHER_MEMBERS).map(([member, other]) => ({ member, ...other }));
  const all = [...devices, ...others].toSorted((a, b) => a.position - b.position);
  // the types are those of the table's rows
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return Object.fromEntries(all.map(({ member, field }) => [member, field])) as DeviceFields & OtherFields;
}

/** A configuration, and what was strange but harmless about what the client sent. */
export interface DecodedVmConfig {
  readonly config: VmConfig;
  readonly warnings: readonly string[];
}

/**
 * Reads a configuration: types, defaults, then every rule that needs no look at the host.
 * @throws ConfigError naming all problems, not only the first
 */
export function decodeVmConfig(json: unknown): DecodedVmConfig {
  const config = decodeShape(withoutPayload(json));
  validateVmConfig(config);
  return { config, warnings: warningsOf(VmConfig, json, config) };
}

/** What is strange but harmless about a client's JSON: unknown members, and members without effect. */
export function warningsOf(schema: Struct, json: unknown, value: unknown): string[] {
  const unknown = unknownMembers(schema, json);
  return [
    ...(unknown.length === 0 ? [] : [`unknown fields ignored: ${joinSome(unknown, ', ')}`]),
    ...membersWithoutEffect(schema, value),
  ];
}

/**
 * Checks a configuration that was put together from checked parts, e.g. one that a device was added to.
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

/**
 * A configuration as answers show it: what was not given is left out, every default is there. Sent to
 * vm.create again, it makes the same machine.
 */
export function encodeVmConfig(config: VmConfig): VmConfig {
  return inGivenForm(encode(VmConfig, config));
}

/** A configuration that means the same to a VMM in another folder: its relative paths are made absolute. */
export function portableVmConfig(config: VmConfig): VmConfig {
  return withAbsolutePaths(VmConfig, config, process.cwd());
}

/** A configuration in the form in which it was given: with `payload`, or with `kernel`, `initramfs` and `cmdline`. */
export function inGivenForm(config: VmConfig): VmConfig {
  if (dialectOf(config).name === 'contract') return config;
  const { kernel: _kernel, initramfs: _initramfs, cmdline: _cmdline, ...rest } = config;
  // what leaves here is JSON for clients, and decodes to the whole again
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return rest as VmConfig;
}

/** Takes `payload` apart, as current clients send it, into the members of the contract. */
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
