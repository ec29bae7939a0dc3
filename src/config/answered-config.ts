import type { AnswerDifference, Device } from '../devices/device.ts';
import { devicesInOrder } from '../devices/table.ts';
import type { Struct } from '../schema/field.ts';
import { dialectOf } from './dialect.ts';
import { inGivenForm, VmConfig } from './vm-config.ts';

/** An object of JSON. */
type Json = Readonly<Record<string, unknown>>;

type Differences = Readonly<Record<string, AnswerDifference>>;

/** Differences of current releases, by the member that has the struct; `` is the configuration itself. */
const CURRENT = differencesOfCurrent();

/** Differences of the contract's release: it shows later members only if a request had them. */
const CONTRACT: Differences = {
  '': { never: membersWith(({ answered }) => answered?.notInContract) },
};

/** Value of `max_phys_bits` that current releases answer where the request had none; some of their clients need it in an answer. */
const PHYS_BITS = 46;

/** Returns a configuration as vm.info shows it, in the dialect of its VM. */
export function answeredConfig(config: VmConfig): VmConfig {
  const isContract = dialectOf(config).name === 'contract';
  const given = inGivenForm(isContract ? withoutLater(config) : config);
  const shown = changed({ ...given, cpus: withPhysBits(given.cpus) }, '', isContract ? CONTRACT : CURRENT);
  // the result is JSON for clients
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return shown as unknown as VmConfig;
}

/** Returns the vCPUs with `max_phys_bits`, which answers always have. */
function withPhysBits(cpus: VmConfig['cpus']): VmConfig['cpus'] {
  return { ...cpus, max_phys_bits: cpus.max_phys_bits ?? PHYS_BITS };
}

/** Returns the configuration without members beyond the contract that have no effect. */
function withoutLater(config: VmConfig): VmConfig {
  const { debug_console: debug, ...rest } = config;
  const known = withoutIdle(VmConfig, debug?.mode === 'Off' ? rest : config);
  // only optional members were left out
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return known as VmConfig;
}

/** Returns a value without the members that are not the contract's and never have an effect, e.g. `pci_segment`. */
function withoutIdle(schema: Struct, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => withoutIdle(schema, item));
  if (!isObject(value)) return value;
  const members = Object.entries(value).flatMap(([name, member]): [string, unknown][] => {
    const field = schema.fields[name];
    if (field === undefined) return [[name, member]];
    if (field.beyond && field.withoutEffect !== undefined) return [];
    return [[name, field.nested === undefined ? member : withoutIdle(field.nested, member)]];
  });
  return Object.fromEntries(members);
}

function changed(value: Json, at: string, differences: Differences): Json {
  const { always = {}, never = {} } = differences[at] ?? {};
  const members = Object.entries(value).flatMap(([name, member]): [string, unknown][] => {
    if (member === undefined || (name in never && never[name] === member)) return [];
    return [[name, changedMember(member, at === '' ? name : `${at}.${name}`, differences)]];
  });
  return { ...always, ...Object.fromEntries(members) };
}

function changedMember(member: unknown, at: string, differences: Differences): unknown {
  if (Array.isArray(member)) return member.map((item) => changedMember(item, at, differences));
  return isObject(member) ? changed(member, at, differences) : member;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function differencesOfCurrent(): Differences {
  const ofItems = devicesInOrder('config').flatMap(({ member, answered }) => [
    ...(answered?.item === undefined ? [] : [[member, answered.item] as const]),
    ...Object.entries(answered?.nested ?? {}).map(([name, one]) => [`${member}.${name}`, one] as const),
  ]);
  return { '': { always: membersWith(({ answered }) => answered?.absent) }, ...Object.fromEntries(ofItems) };
}

/** Returns the values of all members for which `valueOf` has one. */
function membersWith(valueOf: (device: Device) => unknown): Json {
  const values = devicesInOrder('config').map((device) => [device.member, valueOf(device)] as const);
  return Object.fromEntries(values.filter(([, value]) => value !== undefined));
}
