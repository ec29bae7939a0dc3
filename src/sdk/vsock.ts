import { connect, type Socket } from 'node:net';

/** Maximum length of the answer, a line with a port, in bytes. */
const MAX_ANSWER_BYTES = 32;

/**
 * Connects to a port of the guest through the UNIX socket of its vsock device. Rejects if no program listens on it.
 * The socket is half-open: each side ends its own direction with `end()`.
 */
export function connectVsock(socketPath: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: socketPath, allowHalfOpen: true });
    let answer = Buffer.alloc(0);
    const fail = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    const refused = (): void =>
      fail(new Error(`${socketPath}: no program listens on port ${port} of the guest`));
    const read = (): void => {
      const bytes: unknown = socket.read();
      if (bytes instanceof Buffer) answer = Buffer.concat([answer, bytes]);
      const end = answer.indexOf(10);
      if (end < 0) return answer.length > MAX_ANSWER_BYTES ? refused() : undefined;
      socket.off('readable', read).off('end', refused).off('error', fail);
      if (!/^OK \d+$/.test(answer.toString('latin1', 0, end))) return refused();
      if (end + 1 < answer.length) socket.unshift(answer.subarray(end + 1));
      resolve(socket);
    };
    socket.on('readable', read).once('end', refused).once('error', fail);
    socket.write(`CONNECT ${port}\n`);
  });
}
