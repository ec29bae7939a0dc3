import { connect, type Socket } from 'node:net';

/** The answer to a request is a line with a port; anything longer is no answer. */
const MAX_ANSWER_BYTES = 32;

/**
 * Connects to a port that a program in the guest listens on, through the UNIX socket of its vsock device.
 * Rejects where nobody listens there. The socket is half-open: each side ends its own direction with `end()`.
 */
export function connectVsock(socketPath: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: socketPath, allowHalfOpen: true });
    let answer = Buffer.alloc(0);
    const fail = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    const refused = (): void => fail(new Error(`${socketPath}: nobody listens on port ${port} of the guest`));
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
