import { open } from 'node:fs/promises';
import { isShutDown, vmEnd, type VmEnd } from '../../sdk/vm-end.ts';
import type { VmmProcess } from '../../sdk/vmm-process.ts';
import { RunError } from '../errors.ts';

/** Length of the serial output that is searched, in bytes. */
const TAIL_BYTES = 65_536;

/** Reason of a VM whose guest ended by itself. */
export const POWER_OFF = 'the guest powered off or reset';

const PANIC = /Kernel panic - not syncing: ([^\r\n]*)/g;

/** Last message of the init of the guest tools, whose exit is a panic. */
const BOOT_FAILURE = /^nephos: ([^\r\n]*)\r?\n[^\r\n]*Kernel panic - not syncing: Attempted to kill init!/gm;

/** ENODEV and ENOENT of a device: of the helper, which has texts for some numbers, and of mount(2) */
const NO_DRIVER = /error 19$|No such device/;

function explainBoot(failure: string): string {
  const remedy = '; the kernel may lack the driver, which docs/run.md names';
  return `the guest cannot boot: ${failure}${NO_DRIVER.test(failure) ? remedy : ''}`;
}

/**
 * Settles with the reason when a VM has ended, for any reason. `exitCode` returns that of `systemctl exit`, which the guest has reported.
 * Never rejects.
 */
export async function watchGuestEnd(
  vmm: VmmProcess,
  serial: string,
  exitCode: () => number | undefined = () => undefined,
): Promise<RunError> {
  const end = await vmEnd({
    events: vmm.events,
    isShutDown: () => isShutDown(vmm.client),
    vmmEnded: vmm.ended,
  });
  const message = explainEnd(end, await tailOf(serial));
  const code = message === POWER_OFF ? exitCode() : undefined;
  return new RunError('crashed', message, { ...(code !== undefined && { exitCode: code }) });
}

/** Explains the exit of a VM from its exit and the last output of its serial port. */
export function explainEnd({ reason, code, signal, detail, cause }: VmEnd, serial: string): string {
  // with a power-off the text would be that of an earlier boot
  const panic = cause === 'power-off' ? undefined : explainPanic(serial);
  if (panic !== undefined) return panic;
  if (cause === 'panic') return "the guest's kernel panicked";
  if (reason === 'crash') return `QEMU crashed: ${detail ?? 'unknown reason'}`;
  if (reason === 'shutdown') return 'another program shut the VM down';
  if (signal !== null) return `the VMM was ended by ${signal}`;
  if (code === 0) return POWER_OFF;
  return `the VMM exited with code ${code ?? 'unknown'}`;
}

/** Explains the last panic in the output of a serial port; undefined where there is none. */
function explainPanic(serial: string): string | undefined {
  const panic = [...serial.matchAll(PANIC)].at(-1)?.[1];
  const failure = [...serial.matchAll(BOOT_FAILURE)].at(-1)?.[1];
  if (failure !== undefined) return explainBoot(printable(failure));
  return panic === undefined ? undefined : `the guest's kernel panicked: ${printable(panic)}`;
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
