import { identitySteps, renderSteps } from './enter-command.ts';
import type { GuestSetup, GuestVolume } from '../plan-run.ts';
import type { ModuleGroup } from './modules.ts';

/*
 * Steps of a guest's boot, which process 1 (helper/main.ts) reads from /.nephos/boot.
 *
 * Trees: the initramfs, with the tools in /.nephos, and the image in /.nephos/image: an overlay of its layers with a tmpfs above.
 * The image's tree becomes the root of the mount namespace and of process 1, so that it can have user namespaces. dropbear has
 * /.nephos as its root. Without an image the initramfs itself is the image's tree.
 */

/**
 * IPv4 addresses of user-mode networking: QEMU's DHCP server gives the first one to the only guest (`src/devices/net/user-network.ts` and
 * the defaults of `net` in src/devices/net/config.ts).
 */
export const GUEST_NETWORK = {
  address: '192.168.249.15',
  mask: '255.255.255.0',
  gateway: '192.168.249.1',
  nameServer: '192.168.249.3',
} as const;

const TOOLS = '/.nephos';
const IMAGE = `${TOOLS}/image`;

/** mount(2) */
const FLAG = { readOnly: 1, noSuid: 2, noDevices: 4, noExecute: 8, bind: 0x1000, recursive: 0x4000 } as const;

/** Returns the words of the steps. `modules`: names of the kernel's modules, in the order of loading. */
export function bootSteps(setup: GuestSetup, modules: readonly string[]): string[] {
  const { root, hostname, hasNetwork } = setup;
  const hasImage = root.kind !== 'none';
  return [
    ...modules.flatMap((name) => ['load', `${TOOLS}/modules/${name}.ko`]),
    ...systemMounts(TOOLS),
    ...(hasImage ? [...overlaySteps(lowerOf(root)), ...rootMounts()] : treeMounts()),
    ...networkSteps(hasNetwork),
    ...(hasImage ? ['root', IMAGE] : []),
    ...identitySteps(hostname, hasNetwork ? GUEST_NETWORK.address : undefined),
    ...resolverSteps(hasNetwork),
    'serve',
  ];
}

/** Renders a command of the tools that mounts volumes in a guest that has booted. */
export function mountCommand(volumes: readonly GuestVolume[]): string {
  return renderSteps(['image', ...volumes.flatMap(volumeSteps)]);
}

/** Returns the groups of modules that a boot needs. */
export function moduleGroupsOf({ root, hasVolumes, hasNetwork }: GuestSetup): ModuleGroup[] {
  return [
    ...(root.kind === 'none' ? [] : (['base'] as const)),
    ...(root.kind === 'share' || hasVolumes ? (['volumes'] as const) : []),
    ...(hasNetwork ? (['network'] as const) : []),
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

/** Mounts the overlay of the image at its place: a tmpfs, of at most half of the RAM, above its layers. */
function overlaySteps({ steps, paths }: Lower): string[] {
  return [
    ...steps,
    ...mountStep({ type: 'tmpfs', target: `${TOOLS}/w`, data: 'mode=755' }),
    ...['directory', `${TOOLS}/w/u`, 'directory', `${TOOLS}/w/w`],
    ...mountStep({
      type: 'overlay',
      target: IMAGE,
      data: `lowerdir=${paths.join(':')},upperdir=${TOOLS}/w/u,workdir=${TOOLS}/w/w`,
    }),
  ];
}

interface Lower {
  readonly steps: readonly string[];
  /** topmost first */
  readonly paths: readonly string[];
}

function lowerOf(root: GuestSetup['root']): Lower {
  if (root.kind === 'disks') return layerSteps(layerDevices(root));
  return root.kind === 'share' ? directorySteps(root.tag) : { steps: [], paths: [] };
}

/** Returns the devices of the layers: the first disks of the VM in their order, or the partitions of one. */
function layerDevices({
  serials,
  partitions = [],
}: Extract<GuestSetup['root'], { kind: 'disks' }>): string[] {
  return serials.flatMap((_, index) => {
    const count = partitions[index] ?? 0;
    const disk = diskName(index);
    return count === 0 ? [disk] : Array.from({ length: count }, (_part, part) => `${disk}${part + 1}`);
  });
}

function layerSteps(devices: readonly string[]): Lower {
  return {
    steps: devices.flatMap((device, index) => [
      ...['directory', `${TOOLS}/l/${index}`],
      ...mountStep({
        type: 'squashfs',
        source: `${TOOLS}/dev/${device}`,
        target: `${TOOLS}/l/${index}`,
        flags: FLAG.readOnly,
      }),
    ]),
    paths: devices.map((_, index) => `${TOOLS}/l/${index}`).toReversed(),
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

/** Mounts a virtio-fs share in the image's tree. */
function volumeSteps({ tag, path, isReadOnly }: GuestVolume): string[] {
  const flags = isReadOnly ? FLAG.readOnly : 0;
  return ['directory', path, ...mountStep({ type: 'virtiofs', source: tag, target: path, flags })];
}

function networkSteps(hasNetwork: boolean): string[] {
  const loopback = ['try', 'interface', 'lo', hex('127.0.0.1'), hex('255.0.0.0')];
  if (!hasNetwork) return loopback;
  const { address, mask, gateway } = GUEST_NETWORK;
  return [
    ...loopback,
    // the guest has IPv4 only: a default route of IPv6 would lead nowhere on many hosts
    ...['try', 'write', `${TOOLS}/proc/sys/net/ipv6/conf/eth0/accept_ra`, '0'],
    ...['interface', 'eth0', hex(address), hex(mask), 'gateway', hex(gateway)],
  ];
}

function resolverSteps(hasNetwork: boolean): string[] {
  const text = hasNetwork ? `nameserver ${GUEST_NETWORK.nameServer}\n` : '';
  return ['try', 'write', '/etc/resolv.conf', text];
}

function hex(address: string): string {
  return Buffer.from(address.split('.').map(Number)).toString('hex');
}
