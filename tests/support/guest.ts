import { homedir } from 'node:os';
import { join } from 'node:path';

const cache =
  process.env['NEPHOS_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'nephos');

/** Debian's cloud kernel, from `npm run setup`. */
export const KERNEL = join(cache, 'guest', 'vmlinuz');
/** busybox with a login on ttyS0 and hvc0. */
export const INITRAMFS = join(cache, 'guest', 'initramfs.cpio.gz');

/** The same with the tools of scripts/guest/tools.sh: socat, iperf3, perl. Boots a little slower. */
export const INITRAMFS_WITH_TOOLS = join(cache, 'guest', 'initramfs-tools.cpio');

interface Options {
  /** the initramfs has socat, iperf3 and perl */
  readonly tools?: boolean;
}

/** Configuration of the demo guest with its console on the serial port; members of `more` replace these. */
export function guestConfig(
  more: Readonly<Record<string, unknown>> = {},
  { tools = false }: Options = {},
): Record<string, unknown> {
  return {
    kernel: { path: KERNEL },
    initramfs: { path: tools ? INITRAMFS_WITH_TOOLS : INITRAMFS },
    cmdline: { args: 'console=ttyS0' },
    serial: { mode: 'Pty' },
    console: { mode: 'Off' },
    ...more,
  };
}
