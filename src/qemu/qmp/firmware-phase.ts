import type { Qmp } from './connection.ts';

/** Paging is on, in the control register CR0 (Intel's manual, volume 3, section 2.5). */
const PAGING = 0x8000_0000;

/**
 * Whether a guest may still be in its firmware, or its kernel in the first steps: the first vCPU has no paging. The firmware
 * fetches the kernel and the initramfs from QEMU piece by piece.
 */
export async function isBeforePaging(qmp: Qmp): Promise<boolean> {
  const words = { 'command-line': 'info registers', 'cpu-index': 0 };
  const registers = await qmp.execute('human-monitor-command', words);
  const cr0 = /\bCR0=([0-9a-f]+)/.exec(registers)?.[1];
  return cr0 !== undefined && (Number.parseInt(cr0, 16) & PAGING) === 0;
}
