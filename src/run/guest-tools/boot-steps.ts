import { identitySteps } from './enter-command.ts';
import type { ModuleGroup } from './modules.ts';

/*
 * Steps of a guest's boot, which process 1 (helper/main.ts) reads from /.nephos/boot.
 *
 * Trees: the initramfs, with the tools in /.nephos, and the image in /.nephos/image: an overlay of its layers with a tmpfs above.
 * The image's tree becomes the root of the mount namespace and of process 1, so that it can have user namespaces. dropbear has
 * /.nephos as its root. Without an image the initramfs itself is the image's tree.
 */

/** Root file system of a guest. */
export type GuestRoot =
  /** layers of an OCI image: the first disks of the VM, from the lowest to the topmost */
  | { readonly kind: 'layers'; readonly count: number }
  /** a directory by virtio-fs */
  | { readonly kind: 'directory'; readonly tag: string }
  /** the initramfs: busybox, or the user's own */
  | { readonly kind: 'initramfs' };

/** A directory of the host in the guest. */
export interface GuestVolume {
  /** tag of its virtio-fs device */
  readonly tag: string;
  /** absolute path in the guest */
  readonly path: string;
  readonly isReadOnly: boolean;
}

/** IPv4 addresses of a guest, e.g. `192.168.249.15`. */
export interface GuestNetwork {
  readonly address: string;
  readonly mask: string;
  readonly gateway: string;
  readonly nameServer: string;
}

/** Description of a guest's boot. */
export interface GuestBoot {
  readonly root: GuestRoot;
  /** limit of what the image's tree may take of the RAM, in `bytes`; half of the RAM by default */
  readonly writableBytes?: number;
  readonly volumes?: readonly GuestVolume[];
  readonly hostname: string;
  readonly network?: GuestNetwork;
  /** further modules: `vsock`, `panic`, `isolation` */
  readonly moduleGroups?: readonly ModuleGroup[];
}

const TOOLS = '/.nephos';
const IMAGE = `${TOOLS}/image`;

/** mount(2) */
const FLAG = { readOnly: 1, noSuid: 2, noDevices: 4, noExecute: 8, bind: 0x1000, recursive: 0x4000 } as const;

/** Returns the words of the steps. `modules`: files of the kernel's modules, in the order of loading. */
export function bootSteps(boot: GuestBoot, modules: readonly string[]): string[] {
  const { root } = boot;
  const hasOwnRoot = root.kind !== 'initramfs';
  return [
    ...modules.flatMap((name) => ['load', `${TOOLS}/modules/${name}.ko`]),
    ...systemMounts(TOOLS),
    ...(hasOwnRoot ? [...rootSteps(boot), ...rootMounts()] : treeMounts()),
    ...networkSteps(boot.network),
    ...(hasOwnRoot ? ['root', IMAGE] : []),
    ...(boot.volumes ?? []).flatMap(volumeSteps),
    ...identitySteps(boot.hostname, boot.network?.address),
    ...resolverSteps(boot.network),
    'serve',
  ];
}

/** Returns the groups of modules that a boot needs. */
export function moduleGroupsOf({ root, volumes = [], network, moduleGroups = [] }: GuestBoot): ModuleGroup[] {
  return [
    ...(root.kind === 'initramfs' ? [] : (['base'] as const)),
    ...(root.kind === 'directory' || volumes.length > 0 ? (['volumes'] as const) : []),
    ...(network === undefined ? [] : (['network'] as const)),
    ...moduleGroups,
  ];
}

interface Mount {
  readonly type: string;
  readonly source?: string;
  readonly target: string;
  readonly flags?: number;
  readonly data?: string;
}

function mountStep({ type, source = type, target, flags = 0, data = '' }: Mount): string[] {
  return ['mount', source, target, type, `${flags}`, data];
}

/** File systems of the kernel, for a tree. */
function systemMounts(tree: string): string[] {
  const safe = FLAG.noSuid | FLAG.noDevices | FLAG.noExecute;
  return [
    ...mountStep({ type: 'proc', target: `${tree}/proc`, flags: safe }),
    ...mountStep({ type: 'devtmpfs', target: `${tree}/dev`, flags: FLAG.noSuid }),
    ...['directory', `${tree}/dev/pts`, 'directory', `${tree}/dev/shm`, 'directory', `${tree}/dev/mqueue`],
    ...mountStep({
      type: 'devpts',
      target: `${tree}/dev/pts`,
      flags: FLAG.noSuid | FLAG.noExecute,
      data: 'gid=5,mode=620,ptmxmode=666',
    }),
    ...mountStep({
      type: 'tmpfs',
      target: `${tree}/dev/shm`,
      flags: FLAG.noSuid | FLAG.noDevices,
      data: 'mode=1777',
    }),
    ...['try', ...mountStep({ type: 'mqueue', target: `${tree}/dev/mqueue`, flags: safe })],
    ...['link', '/proc/self/fd', `${tree}/dev/fd`],
    ...['link', '/proc/self/fd/0', `${tree}/dev/stdin`],
    ...['link', '/proc/self/fd/1', `${tree}/dev/stdout`],
    ...['link', '/proc/self/fd/2', `${tree}/dev/stderr`],
  ];
}

/** Mounts the overlay of the image at its place. */
function rootSteps({ root, writableBytes }: GuestBoot): string[] {
  const lower =
    root.kind === 'layers'
      ? layerSteps(root.count)
      : directorySteps(root.kind === 'directory' ? root.tag : '');
  const size = writableBytes === undefined ? '' : `,size=${writableBytes}`;
  return [
    ...lower.steps,
    ...mountStep({ type: 'tmpfs', target: `${TOOLS}/w`, data: `mode=755${size}` }),
    ...['directory', `${TOOLS}/w/u`, 'directory', `${TOOLS}/w/w`],
    ...mountStep({
      type: 'overlay',
      target: IMAGE,
      data: `lowerdir=${lower.paths.join(':')},upperdir=${TOOLS}/w/u,workdir=${TOOLS}/w/w`,
    }),
  ];
}

interface Lower {
  readonly steps: readonly string[];
  /** topmost first */
  readonly paths: readonly string[];
}

function layerSteps(count: number): Lower {
  const indexes = Array.from({ length: count }, (_, index) => index);
  return {
    steps: indexes.flatMap((index) => [
      ...['directory', `${TOOLS}/l/${index}`],
      ...mountStep({
        type: 'squashfs',
        source: `${TOOLS}/dev/${diskName(index)}`,
        target: `${TOOLS}/l/${index}`,
        flags: FLAG.readOnly,
      }),
    ]),
    paths: indexes.toReversed().map((index) => `${TOOLS}/l/${index}`),
  };
}

function directorySteps(tag: string): Lower {
  const path = `${TOOLS}/l/0`;
  const mount = mountStep({ type: 'virtiofs', source: tag, target: path, flags: FLAG.readOnly });
  return { steps: ['directory', path, ...mount], paths: [path] };
}

/** Returns the kernel's name of a virtio disk: `vda` to `vdz`, `vdaa` and so on. */
export function diskName(index: number): string {
  const letters = (left: number): string =>
    (left >= 26 ? letters(Math.floor(left / 26) - 1) : '') + String.fromCodePoint(0x61 + (left % 26));
  return `vd${letters(index)}`;
}

/** File systems of the kernel in the image's tree; /dev is that of the tools, so that both have the same terminals. */
function rootMounts(): string[] {
  return [
    ...['proc', 'sys', 'dev', 'etc'].flatMap((name) => ['directory', `${IMAGE}/${name}`]),
    ...mountStep({
      type: 'proc',
      target: `${IMAGE}/proc`,
      flags: FLAG.noSuid | FLAG.noDevices | FLAG.noExecute,
    }),
    ...mountStep({
      type: 'sysfs',
      target: `${IMAGE}/sys`,
      flags: FLAG.noSuid | FLAG.noDevices | FLAG.noExecute,
    }),
    ...['try', ...mountStep({ type: 'cgroup2', target: `${IMAGE}/sys/fs/cgroup`, flags: FLAG.noSuid })],
    ...mountStep({
      type: '',
      source: `${TOOLS}/dev`,
      target: `${IMAGE}/dev`,
      flags: FLAG.bind | FLAG.recursive,
    }),
  ];
}

/** The same in the initramfs as the image's tree. */
function treeMounts(): string[] {
  return [
    ...['proc', 'sys', 'dev', 'etc', 'tmp'].flatMap((name) => ['directory', `/${name}`]),
    ...mountStep({ type: 'proc', target: '/proc' }),
    ...mountStep({ type: 'sysfs', target: '/sys' }),
    ...['try', ...mountStep({ type: 'cgroup2', target: '/sys/fs/cgroup' })],
    ...mountStep({ type: '', source: `${TOOLS}/dev`, target: '/dev', flags: FLAG.bind | FLAG.recursive }),
  ];
}

function volumeSteps({ tag, path, isReadOnly }: GuestVolume): string[] {
  const flags = isReadOnly ? FLAG.readOnly : 0;
  return ['directory', path, ...mountStep({ type: 'virtiofs', source: tag, target: path, flags })];
}

function networkSteps(network: GuestNetwork | undefined): string[] {
  const loopback = ['try', 'interface', 'lo', hex('127.0.0.1'), hex('255.0.0.0')];
  if (network === undefined) return loopback;
  return [
    ...loopback,
    // the guest has IPv4 only: a default route of IPv6 would lead nowhere on many hosts
    ...['try', 'write', `${TOOLS}/proc/sys/net/ipv6/conf/default/accept_ra`, '0'],
    ...['try', 'write', `${TOOLS}/proc/sys/net/ipv6/conf/eth0/accept_ra`, '0'],
    ...['interface', 'eth0', hex(network.address), hex(network.mask), 'gateway', hex(network.gateway)],
  ];
}

function resolverSteps(network: GuestNetwork | undefined): string[] {
  const text = network === undefined ? '' : `nameserver ${network.nameServer}\n`;
  return ['try', 'write', '/etc/resolv.conf', text];
}

function hex(address: string): string {
  return Buffer.from(address.split('.').map(Number)).toString('hex');
}
