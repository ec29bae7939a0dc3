import { didYouMean, nearest } from '../util/nearest.ts';
import type { Flag } from './flag.ts';

/** Flags of other programs that start virtual machines, and the one that is meant here. */
const MEANT: Readonly<Record<string, string>> = {
  append: 'cmdline',
  args: 'cmdline',
  bios: 'firmware',
  blk: 'disk',
  block: 'disk',
  'boot-args': 'cmdline',
  chardev: 'serial',
  drive: 'disk',
  hda: 'disk',
  initramdisk: 'initramfs',
  initrd: 'initramfs',
  ivshmem_device: 'ivshmem',
  m: 'memory',
  mem: 'memory',
  netdev: 'net',
  network: 'net',
  nic: 'net',
  pflash: 'firmware',
  ram: 'memory',
  smp: 'cpus',
  socket: 'api-socket',
  vcpu: 'cpus',
  vcpus: 'cpus',
  vfio: 'device',
  virtiofs: 'fs',
};

/** `did you mean --cpus?` for a word on the command line that is no flag; undefined where nothing is near. */
export function flagMeant(flags: readonly Flag[], word: string): string | undefined {
  const [typed = ''] = word.replace(/^-+/, '').split('=');
  const name = Object.hasOwn(MEANT, typed) ? MEANT[typed] : undefined;
  const known = flags.map((flag) => flag.name);
  const meant = name !== undefined && known.includes(name) ? name : nearest(typed, known);
  return didYouMean(meant === undefined ? undefined : `--${meant}`);
}

/** How a flag's value begins: `expected path=<path>,...`; undefined where nothing is known of it. */
export function expectedValue({ syntax = '' }: Flag): string | undefined {
  const [shown = ''] = syntax.split(' (default:');
  const [first = '', ...rest] = shown.split(',');
  return first === '' ? undefined : `expected ${first}${rest.length === 0 ? '' : ',...'}`;
}
