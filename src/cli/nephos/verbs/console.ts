import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { connectConsole } from '../../../sdk/console-stream.ts';
import { onAbort } from '../../../util/shutdown-signals.ts';
import { splitAtEscape } from '../console-escape.ts';
import { interruptSignal } from '../interrupt.ts';
import type { CommandLine } from '../verb.ts';
import { findRunningVm } from '../vms.ts';

/**
 * Connects the terminal to the serial port of a VM, beside any number of others, until Ctrl-] or the exit of the VM. The output that the
 * VMM keeps is shown first.
 */
export async function run({ operands: [text = ''] }: CommandLine): Promise<number> {
  const { record, paths } = await findRunningVm(text);
  using interrupt = interruptSignal();
  const { stream, opened } = connectConsole({ socketPath: paths.api, device: 'serial' });
  await opened;
  notify(`${record.name}: Ctrl-] disconnects`);
  onAbort(interrupt.signal, () => stream.destroy());
  await connectTerminal(stream);
  notify('');
  return 0;
}

/** Writes a line for a user at a terminal. */
function notify(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${line}\r\n`);
}

/** Copies input and output until the port closes, or the user types the escape. The end of the input does not end it. */
async function connectTerminal(port: Duplex): Promise<void> {
  const { stdin, stdout } = process;
  const closed = once(port, 'close');
  port.on('error', () => undefined);
  port.on('data', (bytes: Buffer) => {
    if (!stdout.write(bytes)) port.pause();
  });
  stdout.on('drain', () => port.resume()).on('error', () => port.destroy());
  stdin.on('data', (bytes: Buffer) => {
    const { before, isEscape } = splitAtEscape(bytes);
    // a guest that does not read holds the terminal back
    if (before.length > 0 && !port.write(before)) stdin.pause();
    if (isEscape) port.destroy();
  });
  port.on('drain', () => stdin.resume());
  if (stdin.isTTY) stdin.setRawMode(true);
  try {
    await closed;
  } finally {
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.destroy();
  }
}
