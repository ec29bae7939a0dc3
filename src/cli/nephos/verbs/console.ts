import { connect } from 'node:net';
import { once } from 'node:events';
import type { Duplex, Readable } from 'node:stream';
import { isLocked } from '../../../native/file-lock.ts';
import type { VmPaths } from '../../../run/vm-directory/paths.ts';
import { Client } from '../../../sdk/client.ts';
import { openPtyStream } from '../../../sdk/pty-stream.ts';
import { splitAtEscape } from '../console-escape.ts';
import { openFollowedFile } from '../followed-file.ts';
import type { CommandLine } from '../verb.ts';
import { findRunningVm } from '../vms.ts';

/** Time limit of vm.info in milliseconds. */
const INFO_MS = 5000;

/** Connects the terminal to the serial port of a VM until Ctrl-] or the exit of the VM. */
export async function run({ operands: [text = ''] }: CommandLine): Promise<number> {
  const { record, paths } = await findRunningVm(text);
  const { config } = await new Client(paths.api, { timeoutMs: INFO_MS }).call('vm.info');
  const port = await openPort(paths, config.serial ?? {});
  notify(`${record.name}: ${'write' in port ? '' : 'the serial port takes no input; '}Ctrl-] disconnects`);
  await connectTerminal(port);
  notify('');
  return 0;
}

/** Writes a line for a user at a terminal. */
function notify(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${line}\r\n`);
}

interface SerialPort {
  readonly mode?: string | undefined;
  readonly file?: string | undefined;
  readonly socket?: string | undefined;
}

/** Opens the serial port: a PTY or socket for both directions, a file for its output alone. */
async function openPort(paths: VmPaths, { mode, file, socket }: SerialPort): Promise<Duplex | Readable> {
  if (mode === 'Pty' && file !== undefined) return openPtyStream(file);
  if (mode !== 'Socket' || socket === undefined)
    return openFollowedFile(paths.serial, () => isLocked(paths.lock));
  const stream = connect(socket);
  await once(stream, 'connect');
  return stream;
}

/** Copies input and output until the port closes, or the user types the escape. */
async function connectTerminal(port: Duplex | Readable): Promise<void> {
  const { stdin, stdout } = process;
  const closed = once(port, 'close');
  port.on('error', () => undefined);
  port.on('data', (bytes: Buffer) => {
    if (!stdout.write(bytes)) port.pause();
  });
  stdout.on('drain', () => port.resume()).on('error', () => port.destroy());
  stdin.on('data', (bytes: Buffer) => {
    const { before, isEscape } = splitAtEscape(bytes);
    if (before.length > 0 && 'write' in port) port.write(before);
    if (isEscape) port.destroy();
  });
  if (stdin.isTTY) stdin.setRawMode(true);
  else if ('write' in port) stdin.once('end', () => port.end());
  try {
    await closed;
  } finally {
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.destroy();
  }
}
