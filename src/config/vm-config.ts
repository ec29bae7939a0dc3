import { DEVICES, positionIn, type DeviceFields } from '../devices/table.ts';
import { CmdLineConfig, InitramfsConfig, KernelConfig, PayloadConfig } from '../devices/payload/config.ts';
import { encode } from '../schema/decode.ts';
import {
  beyond,
  defaulted,
  optional,
  replaceable,
  struct,
  type InputOf,
  type ValueOf,
} from '../schema/field.ts';
import { flag, nested } from '../schema/kinds.ts';
import { withAbsolutePaths } from '../schema/absolute-paths.ts';
import { dialectOf } from './dialect.ts';

/** Configuration of a virtual machine: checked, with every default. */
export interface VmConfig extends ValueOf<typeof VmConfig> {}
/** Configuration as a client may send it, and as answers show it: members with a default may be absent. */
export interface VmConfigInput extends InputOf<typeof VmConfig> {}

/** Members that are no devices, and their positions among the devices' (`DeviceOrder.config`). */
const OTHER_MEMBERS = {
  // current clients send `payload` instead
  kernel: { position: 30, field: replaceable(nested(KernelConfig)) },
  initramfs: { position: 40, field: optional(nested(InitramfsConfig)) },
  cmdline: { position: 50, field: defaulted(nested(CmdLineConfig), { args: '' }) },
  // kept in addition to the members that it is split into, so that answers are in the dialect of the request
  payload: { position: 210, field: beyond(optional(nested(PayloadConfig))) },
  gdb: {
    position: 300,
    field: beyond(
      optional(flag('A debugger may stop the guest, on the socket of --gdb; it waits for one at boot')),
    ),
  },
} as const;

type OtherFields = { readonly [M in keyof typeof OTHER_MEMBERS]: (typeof OTHER_MEMBERS)[M]['field'] };

/** Members of the contract in its order, then those of current versions and of Nephos. */
export const VmConfig = struct({
  name: 'VmConfig',
  doc: 'A virtual machine',
  fields: configFields(),
  aliases: Object.fromEntries(
    DEVICES.flatMap(({ member, aliases = [] }) => aliases.map((one) => [one, member])),
  ),
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

/**
 * Returns a configuration as answers show it: with every default, without members that were not given. Sent to vm.create, it
 * makes the same machine.
 */
export function encodeVmConfig(config: VmConfig): VmConfig {
  return inGivenForm(encode(VmConfig, config));
}

/** Returns a configuration with absolute paths, for a VMM in another working directory. */
export function portableVmConfig(config: VmConfig): VmConfig {
  return withAbsolutePaths(VmConfig, config, process.cwd());
}

/** Returns a configuration in the form of its request: with `payload`, or with `kernel`, `initramfs` and `cmdline`. */
export function inGivenForm(config: VmConfig): VmConfig {
  if (dialectOf(config).name === 'contract') return config;
  const { kernel: _kernel, initramfs: _initramfs, cmdline: _cmdline, ...rest } = config;
  // the result is JSON for clients; it decodes to the whole configuration
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return rest as VmConfig;
}
