import { once } from 'node:events';
import { connect } from 'node:net';
import { Duplex } from 'node:stream';
import { callbackify } from 'node:util';
import { sendDescriptors } from '../native/descriptor-passing.ts';

/**
 * Connects to a UNIX socket. The first write sends copies of descriptors (SCM_RIGHTS), with a system call of its own
 * because Node's sockets cannot. 64-bit Linux only.
 */
export function connectWithDescriptors(socketPath: string, fds: readonly number[]): Duplex {
  const socket = connect(socketPath);
  let unsent = fds;
  const send = async (chunk: Buffer): Promise<void> => {
    if (socket.connecting) await once(socket, 'connect');
    const taken = unsent;
    unsent = [];
    if (taken.length > 0) return sendDescriptors(socket, chunk, taken);
    await new Promise<void>((resolve, reject) =>
      socket.write(chunk, (error) => (error ? reject(error) : resolve())),
    );
  };
  const write = callbackify(send);
  const connection = new Duplex({
    read: () => void socket.resume(),
    write: (chunk: Buffer, _encoding, done) => write(chunk, (error) => done(error)),
    final: (done) => void socket.end(done),
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  socket
    .on('connect', () => connection.emit('connect'))
    .on('data', (bytes) => {
      if (!connection.push(bytes)) socket.pause();
    })
    .on('end', () => connection.push(null))
    .on('error', (error) => connection.destroy(error))
    .on('close', () => connection.destroy());
  return connection;
}
