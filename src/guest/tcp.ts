import { Duplex } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import { reasonOf } from '../util/errno.ts';
import { openStreams } from './channel-streams.ts';
import type { Connection } from './connection.ts';
import { GuestError } from './errors.ts';

/** Connects to a TCP port as a program in the guest would. Each side ends its own direction. @throws GuestError */
export function connectTcp(connection: Connection, host: string, port: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: unknown): void =>
      reject(
        connection.failure() ??
          new GuestError('tcp', `port ${port} of ${host} in the guest: ${reasonOf(cause)}`, { cause }),
      );
    try {
      connection.client.forwardOut('127.0.0.1', 0, host, port, (error, channel) => {
        if (error === undefined) resolve(duplexOn(channel, connection));
        else refuse(error);
      });
    } catch (error) {
      refuse(error);
    }
  });
}

/** Joins the streams of a channel to one that ends and fails as a socket does. */
function duplexOn(channel: ClientChannel, connection: Connection): Duplex {
  channel.on('error', () => undefined);
  const { stdin, stdout, closed } = openStreams(channel, connection.failure);
  const duplex = new Duplex({
    allowHalfOpen: true,
    read: () => void stdout.resume(),
    write: (bytes: Buffer, _encoding, done) => void stdin.write(bytes, done),
    final: (done) => {
      if (stdin.destroyed) done();
      else stdin.end(() => done());
    },
    destroy: (error, done) => {
      channel.close();
      stdout.destroy();
      done(error);
    },
  });
  stdout.on('data', (bytes: Buffer) => {
    if (!duplex.push(bytes)) stdout.pause();
  });
  stdout.once('end', () => void duplex.push(null));
  stdout.once('error', (error) => void duplex.destroy(error));
  // the guest has closed both directions: bytes that are not sent yet have no receiver
  const end = (): void => void duplex.destroy();
  closed.then(() => (duplex.readableEnded ? end() : void duplex.once('end', end))).catch(() => undefined);
  return duplex;
}
