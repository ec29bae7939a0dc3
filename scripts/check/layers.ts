// The layers of src/: imports go down only. This table is the one place that says what each folder may import;
// docs/architecture.md shows it, `npm run check:layers` holds all files to it, at any depth of folders.
import { isBuiltin } from 'node:module';
import type { Reference } from './imports.ts';

export interface Layer {
  /** folder of src/ */
  readonly name: string;
  /** one line for the documents */
  readonly holds: string;
  /** the other layers that its files may import; `undefined`: all */
  readonly imports: readonly string[] | undefined;
  /** modules of Node that its files may import; undefined: all */
  readonly node?: readonly string[];
  /** packages that its files may import; undefined: all but those of `PACKAGE_RULES` */
  readonly packages?: readonly string[];
  /** the reason, which a finding repeats */
  readonly reason: string;
}

const VALUES = ['schema', 'util'];
const CONTRACT = ['api', 'config', 'devices', ...VALUES];

/** Packages without I/O. */
const PURE_PACKAGES = ['valibot'];

/** From the top to the bottom. */
export const LAYERS: readonly Layer[] = [
  {
    name: 'cli',
    holds: 'command lines of the programs, help, manuals',
    imports: undefined,
    reason: 'cli/ and main.ts connect all layers',
  },
  {
    name: 'run',
    holds: 'runs of images: directories of VMs, guest tools, warm starts',
    imports: [...CONTRACT, 'sdk', 'images', 'guest', 'snapshot-files', 'qemu', 'host', 'native'],
    reason: 'run/ is a client of VMMs: neither vm/, http/ nor cli/',
  },
  {
    name: 'web',
    holds: 'the page of a VMM for browsers, and the listener of the page',
    imports: [...CONTRACT, 'http', 'native'],
    reason: 'web/ is a listener of http/, and its page a client: http/, api/ and below',
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
    imports: [...CONTRACT, 'backends', 'guest', 'snapshot-files', 'native'],
    reason: 'sdk/ is a client: it may import api/, guest/, snapshot-files/ and below',
  },
  {
    name: 'images',
    holds: 'images to run: registries, layouts, archives, layers as squashfs',
    imports: [...CONTRACT, 'host', 'native'],
    reason: 'images/ knows no VM: host/, native/ and the contract only',
  },
  {
    name: 'guest',
    holds: 'commands and files in a guest, by SSH',
    imports: ['util'],
    reason: 'guest/ knows streams alone: util/ only',
  },
  {
    name: 'vm',
    holds: 'the only mutable state: the VMM, its VM, the running machine',
    imports: [...CONTRACT, 'snapshot-files', 'plan', 'qemu', 'host', 'backends', 'native'],
    reason: 'vm/ has no transport: neither http/, sdk/ nor cli/',
  },
  {
    name: 'snapshot-files',
    holds: 'files of snapshots and of their chains, without a VM',
    imports: [...VALUES, 'host', 'native'],
    reason: 'snapshot-files/ knows no VM and no QEMU: host/, native/, schema/ and util/ only',
  },
  {
    name: 'plan',
    holds: 'VmConfig to MachinePlan: addresses, memory layout, steps',
    imports: CONTRACT,
    node: ['node:crypto', 'node:path'],
    packages: PURE_PACKAGES,
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
    node: [],
    packages: PURE_PACKAGES,
    reason: 'config/ is pure: devices/, schema/ and util/ only, without I/O',
  },
  {
    name: 'devices',
    holds: 'one folder per device: configuration, rules, plan',
    imports: VALUES,
    node: [],
    packages: PURE_PACKAGES,
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

/** Packages that one layer imports. */
export const PACKAGE_RULES = [
  { name: 'koffi', layer: 'native', reason: 'native/ has the only binding of the C library' },
  { name: 'ws', layer: 'util', reason: 'util/load-ws.ts loads the WebSocket library on first use' },
  { name: 'ssh2', layer: 'guest', reason: 'guest/ has the only SSH client' },
  ...['preact', '@xterm/xterm', '@xterm/addon-fit', 'uplot'].map((name) => ({
    name,
    layer: 'web',
    reason: 'web/page/ alone runs in a browser',
  })),
  {
    name: 'tar-stream',
    layer: 'guest',
    reason: 'guest/ copies archives; images/ has a reader of its own for layers',
  },
];

interface FolderRule {
  /** below src/ */
  readonly folder: string;
  /** folders that its files may not import */
  readonly without: readonly string[];
  readonly reason: string;
}

const OPERATIONS = ['vm/snapshot', 'vm/migration'];
const CHANGES = ['vm/hotplug', 'vm/resize'];

/** Rules within vm/: the recipes of snapshot and migration use the other folders, not the reverse. And the back-end of the SDK. */
export const FOLDER_RULES: readonly FolderRule[] = [
  {
    folder: 'sdk',
    without: ['backends/fs', 'backends/fuse', 'backends/vhost-user', 'backends/vsock'],
    reason: 'backends/fs-provider/ is the only back-end of the SDK',
  },
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
export function layerViolation(reference: Reference): string | undefined {
  const { from, target, to, isComputed } = reference;
  if (!from.startsWith('src/') || isTest(from)) return undefined;
  const own = layerOf(from);
  if (own === undefined) return `scripts/check/layers.ts has no layer for src/${folderOf(from)}/`;
  if (isComputed) return 'the module must be a string, so that its layer can be checked';
  if (to === undefined) return outsideViolation(own, target);
  if (!to.startsWith('src/')) return 'src/ imports files of src/ only';
  if (isTest(to)) return 'only tests import tests and their helpers';
  const other = folderOf(to);
  if (other !== own.name && own.imports !== undefined && !own.imports.includes(other)) return own.reason;
  return FOLDER_RULES.find(
    ({ folder, without }) => isWithin(from, folder) && without.some((one) => isWithin(to, one)),
  )?.reason;
}

/** Returns the references by which files reach a module through the exports of another file (a barrel). */
export function throughExports(references: readonly Reference[]): Reference[] {
  const exports = new Map<string, Reference[]>();
  for (const one of references)
    if (one.isExported) exports.set(one.from, [...(exports.get(one.from) ?? []), one]);
  const reach = (file: string, seen: Set<string>): string[] =>
    (exports.get(file) ?? []).flatMap(({ to }) => {
      if (to === undefined || seen.has(to)) return [];
      seen.add(to);
      return [to, ...reach(to, seen)];
    });
  return references.flatMap((one) =>
    one.to === undefined
      ? []
      : reach(one.to, new Set([one.to])).map((to) => ({
          ...one,
          to,
          target: `${one.target} (exports ${to})`,
        })),
  );
}

/** Explains why a layer may not import a module of Node or of a package. */
function outsideViolation({ name, node, packages, reason }: Layer, target: string): string | undefined {
  if (isBuiltin(target)) {
    const module = target.startsWith('node:') ? target : `node:${target}`;
    return node === undefined || node.includes(module) ? undefined : reason;
  }
  const known = /^(?:@[^/]+\/)?[^/]+/.exec(target)?.[0] ?? target;
  if (packages !== undefined && !packages.includes(known)) return reason;
  return PACKAGE_RULES.find((rule) => rule.name === known && rule.layer !== name)?.reason;
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
