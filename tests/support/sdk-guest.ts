import { randomBytes } from 'node:crypto';
import type { VirtualMachine } from 'nephos';

/** Limit of a login and of a command in the guest, on a busy machine. */
const TIMEOUT_MS = 120_000;

/** Logs in at the serial console, by the SDK. */
export async function login({ serial }: VirtualMachine): Promise<void> {
  await serial.waitFor('login:', { timeoutMs: TIMEOUT_MS });
  serial.write('root\n');
  await serial.waitFor('# ');
}

/** Runs a command in the guest and returns its output. */
export async function run({ serial }: VirtualMachine, command: string): Promise<string> {
  const mark = randomBytes(6).toString('hex');
  serial.write(`echo begin-${mark}; ${command}; echo end-${mark}\n`);
  const pattern = new RegExp(`begin-${mark}\\r+\\n([^]*)end-${mark}\\r+\\n`);
  const [, printed = ''] = await serial.waitFor(pattern, { timeoutMs: TIMEOUT_MS });
  return printed.replaceAll('\r', '').trimEnd();
}
