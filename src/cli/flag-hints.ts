import { didYouMean, nearest } from '../util/nearest.ts';
import type { Flag } from './flag.ts';

/** Flags of other virtual machine monitors, and the flag with the same meaning here. */
const FLAG_HINTS: Readonly<Record<string, string>> = {
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

/** Returns `did you mean --cpus?` for an unknown flag; undefined if no flag is similar. */
export function suggestFlag(flags: readonly Flag[], word: string): string | undefined {
  const [typed = ''] = word.replace(/^-+/, '').split('=');
  const name = Object.hasOwn(FLAG_HINTS, typed) ? FLAG_HINTS[typed] : undefined;
  const known = flags.map((flag) => flag.name);
  const intended = name !== undefined && known.includes(name) ? name : nearest(typed, known);
  return didYouMean(intended === undefined ? undefined : `--${intended}`);
}

/** Returns the start of a flag's syntax, `expected path=<path>,...`; undefined for a flag without syntax. */
export function expectedValue({ syntax = '' }: Flag): string | undefined {
  const [shown = ''] = syntax.split(' (default:');
  const [first = '', ...rest] = shown.split(',');
  return first === '' ? undefined : `expected ${first}${rest.length === 0 ? '' : ',...'}`;
}
