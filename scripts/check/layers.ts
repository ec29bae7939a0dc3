// The layers of src/: imports go down only. This table is the one place that says what each folder may import;
// docs/architecture.md shows it, `npm run check:layers` holds all files to it, at any depth of folders.
import type { Reference } from './imports.ts';

export interface Layer {
  /** folder of src/ */
  readonly name: string;
  /** one line for the documents */
  readonly holds: string;
  /** the other layers that its files may import; `undefined`: all */
  readonly imports: readonly string[] | undefined;
  /** modules of Node that its files may not import */
  readonly withoutNode?: RegExp;
  /** the reason, which a finding repeats */
  readonly reason: string;
}

const VALUES = ['schema', 'util'];
const CONTRACT = ['api', 'config', 'devices', ...VALUES];

/** From the top to the bottom. */
export const LAYERS: readonly Layer[] = [
  {
    name: 'cli',
    holds: 'command lines of the programs, help, manuals',
    imports: undefined,
    reason: 'cli/ and main.ts connect all layers',
  },
  {
    name: 'http',
    holds: 'bytes, JSON and status codes on the API socket',
    imports: [...CONTRACT, 'native'],
    reason: 'http/ receives its handlers as an argument: it may import api/ and below',
  },
  {
    name: 'sdk',
    holds: 'client side of the API socket',
    imports: [...CONTRACT, 'native'],
    reason: 'sdk/ is a client: it may import api/ and below',
  },
  {
    name: 'vm',
    holds: 'the only mutable state: the VMM, its VM, the running machine',
    imports: [...CONTRACT, 'plan', 'qemu', 'host', 'backends', 'native'],
    reason: 'vm/ has no transport: neither http/, sdk/ nor cli/',
  },
  {
    name: 'plan',
    holds: 'VmConfig to MachinePlan: addresses, memory layout, steps',
    imports: CONTRACT,
    withoutNode: /^node:(?:fs|child_process|net)\b/,
    reason: 'plan/ is pure: no I/O, no qemu/, no host/',
  },
  {
    name: 'qemu',
    holds: 'the QEMU process, QMP, the bus of the guest',
    imports: [...CONTRACT, 'native'],
    reason: 'plan/, qemu/ and host/ do not import each other',
  },
  {
    name: 'host',
    holds: 'disks, networks, consoles, memory and kernel of the host',
    imports: [...CONTRACT, 'native'],
    reason: 'plan/, qemu/ and host/ do not import each other',
  },
  {
    name: 'api',
    holds: 'the contract: routes, states, requests, replies, errors',
    imports: ['config', 'devices', ...VALUES],
    reason: 'api/ is the contract: it may import config/ and below',
  },
  {
    name: 'config',
    holds: 'configuration of a whole VM, and rules that join devices',
    imports: ['devices', ...VALUES],
    withoutNode: /^node:/,
    reason: 'config/ is pure: devices/, schema/ and util/ only, without I/O',
  },
  {
    name: 'devices',
    holds: 'one folder per device: configuration, rules, plan',
    imports: VALUES,
    withoutNode: /^node:/,
    reason: 'devices/ are pure: schema/ and util/ only, without I/O',
  },
  {
    name: 'schema',
    holds: 'fields and structs',
    imports: ['util'],
    reason: 'schema/ may import util/ only',
  },
  {
    name: 'backends',
    holds: 'vhost-user back-ends, each in a thread',
    imports: ['native', 'util'],
    reason: 'backends/ are a stack of their own: native/ and util/ only',
  },
  {
    name: 'native',
    holds: 'binding of the C library',
    imports: ['util'],
    reason: 'native/ may import util/ only',
  },
  {
    name: 'util',
    holds: 'helpers without domain words',
    imports: [],
    reason: 'util/ holds leaf helpers: it imports no other layer',
  },
];

interface FolderRule {
  /** below src/ */
  readonly folder: string;
  /** folders of the same layer that its files may not import */
  readonly without: readonly string[];
  readonly reason: string;
}

const OPERATIONS = ['vm/snapshot', 'vm/migration'];
const CHANGES = ['vm/hotplug', 'vm/resize'];

/** Rules within vm/: the recipes of snapshot and migration use the other folders, not the reverse. */
export const FOLDER_RULES: readonly FolderRule[] = [
  {
    folder: 'vm/snapshot',
    without: ['vm/migration'],
    reason: 'vm/machine-state/ has what snapshot and migration share',
  },
  {
    folder: 'vm/migration',
    without: ['vm/snapshot'],
    reason: 'vm/machine-state/ has what snapshot and migration share',
  },
  {
    folder: 'vm/launch',
    without: [...OPERATIONS, ...CHANGES, 'vm/guest-exit'],
    reason: 'a launch receives the state to load as a value',
  },
  {
    folder: 'vm/machine-state',
    without: [...OPERATIONS, 'vm/hotplug', 'vm/guest-exit'],
    reason: 'vm/machine-state/ is what snapshot and migration share: it is below both',
  },
  {
    folder: 'vm/devices',
    without: [...OPERATIONS, ...CHANGES, 'vm/launch', 'vm/guest-exit'],
    reason: 'vm/devices/ acts for one device: launch and operations call it',
  },
  {
    folder: 'vm/observe',
    without: [...OPERATIONS, 'vm/launch', 'vm/resize'],
    reason: 'vm/observe/ reads the running machine only',
  },
  {
    folder: 'vm/hotplug',
    without: [...OPERATIONS, 'vm/launch', 'vm/resize', 'vm/guest-exit'],
    reason: 'vm/hotplug/ changes the running machine only',
  },
  {
    folder: 'vm/resize',
    without: [...OPERATIONS, 'vm/launch', 'vm/guest-exit'],
    reason: 'vm/resize/ changes the running machine only',
  },
];

/** Explains why a file may not import a module; `undefined`: it may. Unit tests and their helpers may import anything. */
export function layerViolation({ from, target, to }: Reference): string | undefined {
  const own = layerOf(from);
  if (!from.startsWith('src/') || isTest(from) || own === undefined) return undefined;
  if (own.withoutNode?.test(target) === true) return own.reason;
  if (to === undefined) return undefined;
  if (!to.startsWith('src/')) return 'src/ imports files of src/ only';
  const other = folderOf(to);
  if (other !== own.name && own.imports !== undefined && !own.imports.includes(other)) return own.reason;
  return FOLDER_RULES.find(
    ({ folder, without }) => isWithin(from, folder) && without.some((one) => isWithin(to, one)),
  )?.reason;
}

/** Renders a forbidden import. */
export function renderViolation({ from, target, line }: Reference, reason: string): string {
  return `${from}:${line}: must not import ${target}: ${reason} (docs/architecture.md, layers)`;
}

/** Unit tests, and their helpers (`test-kit.ts`). */
export function isTest(path: string): boolean {
  return /\.test\.ts$|\/test-[\w-]+\.ts$/.test(path);
}

/** Layer of a file of src/; files beside the folders (main.ts) have the rules of cli/. */
function layerOf(path: string): Layer | undefined {
  const folder = folderOf(path);
  return LAYERS.find(({ name }) => name === folder);
}

function folderOf(path: string): string {
  const [, folder = '', inside] = path.split('/');
  return inside === undefined ? 'cli' : folder;
}

function isWithin(path: string, folder: string): boolean {
  return path.startsWith(`src/${folder}/`);
}
