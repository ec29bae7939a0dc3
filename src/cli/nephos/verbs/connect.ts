import { connectVsock } from '../../../sdk/vsock.ts';
import type { CommandLine } from '../verb.ts';
import { readCount } from '../values.ts';
import { findRunningVm } from '../vms.ts';

const SSH_PORT = '22';
/** Time limit until the guest answers, in milliseconds. */
const CONNECT_MS = 60_000;
/** Largest port of vsock: VMADDR_PORT_ANY is one more. */
const PORT_MAX = 2 ** 32 - 2;

/** Connects standard input and output to a port of a guest. Ends when the guest has ended the connection. */
export async function run({ operands: [name = '', port = SSH_PORT] }: CommandLine): Promise<number> {
  const number = readCount('PORT', port, [1, PORT_MAX]);
  const { paths } = await findRunningVm(name);
  const socket = await connectVsock(paths.guest, number, { timeoutMs: CONNECT_MS });
  return new Promise((settle) => {
    // a reset ends the connection as a close does
    socket.on('error', () => undefined);
    process.stdout.on('error', () => void socket.destroy());
    process.stdin.pipe(socket);
    socket.pipe(process.stdout);
    socket.once('close', () => {
      process.stdin.destroy();
      settle(0);
    });
    // the guest has ended its direction: ssh ends the connection
    socket.once('end', () => void socket.end());
  });
}
