import { open } from 'node:fs/promises';
import { isShutDown, vmEnd, type VmEnd } from '../../sdk/vm-end.ts';
import type { VmmProcess } from '../../sdk/vmm-process.ts';
import { RunError } from '../errors.ts';

/** Length of the serial output that is searched, in bytes. */
const TAIL_BYTES = 65_536;

/** Reason of a VM whose guest ended by itself. */
export const POWER_OFF = 'the guest powered off or reset';

const PANIC = /Kernel panic - not syncing: ([^\r\n]*)/g;

/** Settles with the reason when a VM has ended, for any reason. Never rejects. */
export async function watchGuestEnd(vmm: VmmProcess, serial: string): Promise<RunError> {
  const end = await vmEnd({
    events: vmm.events,
    isShutDown: () => isShutDown(vmm.client),
    vmmEnded: vmm.ended,
  });
  return new RunError('crashed', explainEnd(end, await tailOf(serial)));
}

/** Explains the exit of a VM from its exit and the last output of its serial port. */
export function explainEnd({ reason, code, signal, detail }: VmEnd, serial: string): string {
  const panic = [...serial.matchAll(PANIC)].at(-1)?.[1];
  if (panic !== undefined) return `the guest's kernel panicked: ${printable(panic)}`;
  if (reason === 'crash') return `QEMU crashed: ${detail ?? 'unknown reason'}`;
  if (reason === 'shutdown') return 'another program shut the VM down';
  if (signal !== null) return `the VMM was ended by ${signal}`;
  if (code === 0) return POWER_OFF;
  return `the VMM exited with code ${code ?? 'unknown'}`;
}

/** Text of a guest is shown on a terminal: control characters are replaced. */
function printable(text: string): string {
  return text.replaceAll(/[^\P{C}]/gu, '?').slice(0, 200);
}

async function tailOf(path: string): Promise<string> {
  try {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      const start = Math.max(0, size - TAIL_BYTES);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(TAIL_BYTES), 0, TAIL_BYTES, start);
      return buffer.toString('latin1', 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch {
    return '';
  }
}
