import { tpm } from '../../../devices/tpm/index.ts';
import { connectSocket } from '../../../native/unix-socket.ts';
import { prepares } from '../prepare.ts';

/** Connects to the program that emulates the TPM; QEMU inherits the connection. */
export const prepareTpm = prepares(tpm, async ({ socket }) => {
  const { fd, close } = await connectSocket(socket);
  return { facts: { fd }, release: close };
});
