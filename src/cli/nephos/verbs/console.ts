import { connect } from 'node:net';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { Client } from '../../../sdk/client.ts';
import { openPtyStream } from '../../../sdk/pty-stream.ts';
import { splitAtEscape } from '../console-escape.ts';
import { VerbError, type CommandLine } from '../verb.ts';
import { findRunningVm } from '../vms.ts';

/** Time limit of vm.info in milliseconds. */
const INFO_MS = 5000;

/** Connects the terminal to the serial port of a VM until Ctrl-] or the exit of the VM. */
export async function run({ operands: [text = ''] }: CommandLine): Promise<number> {
  const { record, paths } = await findRunningVm(text);
  const { config } = await new Client(paths.api, { timeoutMs: INFO_MS }).call('vm.info');
  const port = await openPort(record.name, config.serial ?? {});
  if (process.stderr.isTTY) process.stderr.write(`Connected to ${record.name}; Ctrl-] disconnects.\r\n`);
  await connectTerminal(port);
  if (process.stderr.isTTY) process.stderr.write('\r\n');
  return 0;
}

interface SerialPort {
  readonly mode?: string | undefined;
  readonly file?: string | undefined;
  readonly socket?: string | undefined;
}

async function openPort(name: string, { mode, file, socket }: SerialPort): Promise<Duplex> {
  if (mode === 'Pty' && file !== undefined) return openPtyStream(file);
  if (mode === 'Socket' && socket !== undefined) {
    const stream = connect(socket);
    await once(stream, 'connect');
    return stream;
  }
  throw new VerbError(
    `the serial port of ${name} takes no input: its output goes to a file`,
    `nephos logs --serial -f ${name} follows it, nephos exec -it ${name} sh opens a shell`,
  );
}

/** Copies input and output until the port closes, or the user types the escape. */
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
    if (before.length > 0) port.write(before);
    if (isEscape) port.destroy();
  });
  if (stdin.isTTY) stdin.setRawMode(true);
  else stdin.once('end', () => port.end());
  try {
    await closed;
  } finally {
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.destroy();
  }
}
