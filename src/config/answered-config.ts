import type { Struct } from '../schema/field.ts';
import { dialectOf } from './dialect.ts';
import { inGivenForm, VmConfig } from './vm-config.ts';
import { DEBUG_PORT } from '../devices/debug-console/config.ts';
import { FS_CACHE_SIZE } from '../devices/fs/config.ts';

/** An object of JSON. */
type Json = Readonly<Record<string, unknown>>;

/** What a release shows of one struct otherwise than the schema has it. */
interface Difference {
  /** members that it always shows, and their values where nothing was asked for */
  readonly always?: Json;
  /** members that it does not know, and their values where nothing was asked for: these are left out */
  readonly never?: Json;
}

const ON_SEGMENT = { pci_segment: 0 };

/** How answers of v40 differ from the schema, by the member that has the struct; `` is the configuration itself. */
const CURRENT: Readonly<Record<string, Difference>> = {
  '': { always: { pvpanic: false, debug_console: { mode: 'Off', iobase: DEBUG_PORT } } },
  cpus: { always: { features: { amx: false } } },
  memory: { always: { prefault: false, thp: true } },
  'memory.zones': { always: { prefault: false }, never: { mergeable: false } },
  disks: { always: { ...ON_SEGMENT, disable_aio: false }, never: { poll_queue: true } },
  net: { always: { ...ON_SEGMENT, offload_tso: true, offload_ufo: true, offload_csum: true } },
  balloon: { always: { free_page_reporting: false } },
  fs: { always: ON_SEGMENT, never: { dax: true, cache_size: FS_CACHE_SIZE } },
  pmem: { always: ON_SEGMENT, never: { mergeable: false } },
  devices: { always: ON_SEGMENT },
  rate_limit_groups: { always: { rate_limiter_config: {} } },
  vsock: { always: ON_SEGMENT },
};

/** The same of the contract's revision: what came later is only shown where it was asked for. */
const CONTRACT: Readonly<Record<string, Difference>> = {
  '': { never: { pvpanic: false } },
};

/** What current versions say where nothing was; some of their clients cannot read an answer without it. */
const PHYS_BITS = 46;

/** Returns a configuration as vm.info shows it, in the dialect of its VM. */
export function answeredConfig(config: VmConfig): VmConfig {
  const isContract = dialectOf(config).name === 'contract';
  const given = inGivenForm(isContract ? withoutLater(config) : config);
  const shown = changed({ ...given, cpus: withPhysBits(given.cpus) }, '', isContract ? CONTRACT : CURRENT);
  // what leaves here is JSON for clients
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return shown as unknown as VmConfig;
}

/** Every vCPU has a bound of its addresses. */
function withPhysBits(cpus: VmConfig['cpus']): VmConfig['cpus'] {
  return { ...cpus, max_phys_bits: cpus.max_phys_bits ?? PHYS_BITS };
}

/** A configuration without what the contract does not know and what is not in the machine. */
function withoutLater(config: VmConfig): VmConfig {
  const { debug_console: debug, ...rest } = config;
  const known = withoutIdle(VmConfig, debug?.mode === 'Off' ? rest : config);
  // only optional members were left out
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return known as VmConfig;
}

/** Leaves out the members that are not the contract's and never have an effect, e.g. `pci_segment`. */
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

function changed(value: Json, at: string, differences: Readonly<Record<string, Difference>>): Json {
  const { always = {}, never = {} } = differences[at] ?? {};
  const members = Object.entries(value).flatMap(([name, member]): [string, unknown][] => {
    if (member === undefined || (name in never && never[name] === member)) return [];
    return [[name, changedMember(member, at === '' ? name : `${at}.${name}`, differences)]];
  });
  return { ...always, ...Object.fromEntries(members) };
}

function changedMember(
  member: unknown,
  at: string,
  differences: Readonly<Record<string, Difference>>,
): unknown {
  if (Array.isArray(member)) return member.map((item) => changedMember(item, at, differences));
  return isObject(member) ? changed(member, at, differences) : member;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
