import { memory } from '../devices/memory/index.ts';
import { MemoryZoneConfig } from '../devices/memory/config.ts';
import { FwCfgConfig } from '../devices/payload/fw-cfg.ts';
import { DEVICES, devicesInOrder } from '../devices/table.ts';
import type { Struct } from '../schema/field.ts';
import { parseWords, OptionStringError, type ParsedWords } from '../schema/option-string.ts';
import { ConfigError } from './errors.ts';
import { decodeVmConfig, type DecodedVmConfig } from './decode-vm-config.ts';
import { VmConfig } from './vm-config.ts';

/** Texts of the VM's flags, by flag without its dashes: `{ disk: ['path=/a', 'path=/b'], watchdog: [] }`. */
export type FlagTexts = Readonly<Record<string, readonly string[] | undefined>>;

/** Settings of a VM from flags that do not describe it. */
interface OtherWords {
  /** members of its configuration */
  readonly members?: Readonly<Record<string, unknown>>;
  /** flags of releases after the contract's were ignored */
  readonly hasLaterFlags?: boolean;
}

/**
 * Reads the flags that describe a VM, and checks the resulting configuration.
 * @throws ConfigError whose message is Cloud Hypervisor's, e.g. `Error parsing --disk: unknown option: foo`
 */
export function parseVmConfig(
  flags: FlagTexts,
  { members = {}, hasLaterFlags = false }: OtherWords = {},
): DecodedVmConfig {
  const { json, warnings, ignored = [] } = vmConfigJson(flags);
  try {
    const decoded = decodeInItsDialect({ ...json, ...members }, hasLaterFlags || ignored.length > 0);
    return { config: decoded.config, warnings: [...warnings, ...decoded.warnings] };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const problems = [`Error validating configuration: ${error.message}`];
    throw new ConfigError(error.kind, problems, { cause: error });
  }
}

type Json = Readonly<Record<string, unknown>>;

/**
 * Decodes a VM of the command line. Its dialect is the contract's if all its flags and keys are, and if the result is valid in that
 * dialect.
 */
function decodeInItsDialect(json: Json, hasLaterWords: boolean): DecodedVmConfig {
  if (hasLaterWords || hasLaterMembers(VmConfig, json)) return decodeVmConfig(asPayload(json));
  try {
    return decodeVmConfig(json);
  } catch (error) {
    try {
      // e.g. two consoles on the terminal
      return decodeVmConfig(asPayload(json));
    } catch {
      throw error;
    }
  }
}

/** Members beyond the contract's document that are not of later releases: the contract's release has them, or only Nephos does. */
const NOT_LATER: ReadonlySet<string> = new Set([
  ...['kvm_hyperv', 'disable_io_uring', 'host_mac'],
  ...['backend', 'forwards'],
  ...['directory', 'readonly', 'cache', 'uid_map', 'gid_map', 'xattr'],
]);

/** Returns true if JSON has members of releases after the contract's. */
function hasLaterMembers(schema: Struct, value: unknown): boolean {
  if (Array.isArray(value)) return value.some((item) => hasLaterMembers(schema, item));
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).some(([name, member]) => {
    const field = schema.fields[name];
    if (field === undefined || member === undefined) return false;
    if (field.beyond && !NOT_LATER.has(name)) return true;
    return field.nested !== undefined && hasLaterMembers(field.nested, member);
  });
}

/** Returns the same VM in the form of current clients. */
function asPayload(json: Json): Json {
  const { kernel, initramfs, cmdline, ...rest } = json;
  if ('payload' in json) return json;
  const payload = {
    kernel: memberOf(kernel, 'path'),
    initramfs: memberOf(initramfs, 'path'),
    cmdline: memberOf(cmdline, 'args'),
  };
  return { ...rest, payload };
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null
    ? Object.entries(value).find(([key]) => key === name)?.[1]
    : undefined;
}

/**
 * Returns the JSON of a vm.create request for these flags, in the contract's form as far as possible; not checked yet.
 * @throws ConfigError
 */
export function vmConfigJson(flags: FlagTexts): ParsedWords {
  const warnings: string[] = [];
  const ignored: string[] = [];
  const parse = (flag: string, struct: Struct, text: string): unknown => {
    const parsed = parseFlag(flag, struct, text);
    warnings.push(...parsed.warnings);
    ignored.push(...(parsed.ignored ?? []));
    return parsed.json;
  };
  const json: Record<string, unknown> = {};
  for (const { member, flag, struct, many } of devicesInOrder('words')) {
    const texts = flag === undefined ? undefined : flags[flag];
    if (flag === undefined || struct === undefined || texts === undefined || texts.length === 0) continue;
    const items = texts.map((text) => parse(flag, struct, text));
    json[member] = many ? items : items[0];
  }
  const zones = (flags['memory-zone'] ?? []).map((text) => parse('memory-zone', MemoryZoneConfig, text));
  if (zones.length > 0)
    json['memory'] = { ...(json['memory'] ?? parseFlag('memory', memory.struct, '').json), zones };
  const iommu = DEVICES.some((one) => one.behindIommu?.onRequest === true && hasIommu(json[one.member]));
  const fwCfg = (flags['fw-cfg-config'] ?? []).map((text) => parse('fw-cfg-config', FwCfgConfig, text))[0];
  return {
    json: { ...json, ...payload(flags, fwCfg), iommu, watchdog: false, ...switches(flags) },
    warnings,
    ignored,
  };
}

/**
 * Reads the option string of one flag, of any command that has it.
 * @throws ConfigError
 */
export function parseFlag(flag: string, struct: Struct, text: string): ParsedWords {
  try {
    const parsed = parseWords(struct, text);
    return { ...parsed, warnings: parsed.warnings.map((warning) => `--${flag}: ${warning}`) };
  } catch (error) {
    if (!(error instanceof OptionStringError)) throw error;
    const prefix = error.validation ? 'Error validating configuration' : `Error parsing --${flag}`;
    throw new ConfigError('malformed', [`${prefix}: ${error.message}`], { cause: error, hint: error.hint });
  }
}

/** Returns the members of flags without a value, e.g. `watchdog`. */
function switches(flags: FlagTexts): Readonly<Record<string, unknown>> {
  const given = DEVICES.filter(
    ({ flag, struct }) => struct === undefined && flag !== undefined && flags[flag] !== undefined,
  );
  return Object.fromEntries(
    given.map(({ member, field }) => [member, field.document['type'] === 'object' ? {} : true]),
  );
}

/** Returns the members of flags whose value is a text without keys. */
function payload(flags: FlagTexts, fwCfg: unknown): Readonly<Record<string, unknown>> {
  const kernel = flags['kernel']?.[0];
  const initramfs = flags['initramfs']?.[0];
  const cmdline = flags['cmdline']?.[0];
  const firmware = flags['firmware']?.[0];
  const firmware_vars = flags['firmware-vars']?.[0];
  const igvm = flags['igvm']?.[0];
  const host_data = flags['host-data']?.[0];
  const further = [firmware, firmware_vars, igvm, host_data, fwCfg];
  if (further.some((one) => one !== undefined)) {
    return {
      payload: { firmware, firmware_vars, kernel, initramfs, cmdline, igvm, host_data, fw_cfg_config: fwCfg },
    };
  }
  return {
    ...(kernel === undefined ? {} : { kernel: { path: kernel } }),
    ...(initramfs === undefined ? {} : { initramfs: { path: initramfs } }),
    ...(cmdline === undefined ? {} : { cmdline: { args: cmdline } }),
  };
}

function hasIommu(member: unknown): boolean {
  if (Array.isArray(member)) return member.some((item) => hasIommu(item));
  return typeof member === 'object' && member !== null && 'iommu' in member && member.iommu === true;
}
