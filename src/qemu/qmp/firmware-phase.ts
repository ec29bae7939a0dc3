import type { Qmp } from './connection.ts';

/** Bit PG of the control register CR0: paging is on (Intel's manual, volume 3, section 2.5). */
const PAGING = 0x8000_0000;

/**
 * Returns true if the guest may still run its firmware or the first instructions of its kernel: the first vCPU has paging off. Until
 * then the firmware reads the kernel and the initramfs from QEMU.
 */
export async function isBeforePaging(qmp: Qmp): Promise<boolean> {
  const words = { 'command-line': 'info registers', 'cpu-index': 0 };
  const registers = await qmp.execute('human-monitor-command', words);
  const cr0 = /\bCR0=([0-9a-f]+)/.exec(registers)?.[1];
  return cr0 !== undefined && (Number.parseInt(cr0, 16) & PAGING) === 0;
}
