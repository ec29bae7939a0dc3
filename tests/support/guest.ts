import { homedir } from 'node:os';
import { join } from 'node:path';

const cache =
  process.env['NEPHOS_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'nephos');

/** Debian's cloud kernel, as `npm run setup` put it there. */
export const KERNEL = join(cache, 'guest', 'vmlinuz');
/** busybox with a login on ttyS0 and hvc0. */
export const INITRAMFS = join(cache, 'guest', 'initramfs.cpio.gz');

/** The demo guest with its console on the serial port; members of `more` go over these. */
export function guestConfig(more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    kernel: { path: KERNEL },
    initramfs: { path: INITRAMFS },
    cmdline: { args: 'console=ttyS0' },
    serial: { mode: 'Pty' },
    console: { mode: 'Off' },
    ...more,
  };
}
