import { Duplex } from 'node:stream';
import type { Guest } from '../../guest/guest.ts';
import { createSeed, type KeyExchangeSeed } from '../../guest/ssh2-crypto.ts';

/*
 * An SSH connection that outlives a snapshot. A snapshot has a server that is connected and waits for commands (RFC 4253, RFC 4252). The bytes
 * of the server until then are recorded, with the random numbers of the client. A client of a restored guest gets both: it derives the same
 * session keys without the guest, and its first command is the first work of the server.
 *
 * The keys are those of all guests of a snapshot. That is no loss: the stream is a socket in a directory of mode 0700, and a reader of the
 * snapshot finds the keys in its memory.
 */

/** A connection that is ready for commands. */
export interface RecordedConnection {
  readonly seed: KeyExchangeSeed;
  /** Bytes of the server */
  readonly received: Buffer;
  /** Number of `bytes` of the client */
  readonly sent: number;
}

/** A connection that is being recorded. */
export interface Recording {
  readonly seed: KeyExchangeSeed;
  /** Ends the recording. */
  readonly finish: () => RecordedConnection;
}

/** Records the bytes of a stream from now on. */
export function startRecording(stream: Duplex): Recording {
  const seed = createSeed();
  const received: Buffer[] = [];
  let sent = 0;
  const write = stream.write.bind(stream);
  const emit = stream.emit.bind(stream);
  stream.emit = (event: string | symbol, ...values: unknown[]) => {
    const [bytes] = values;
    if (event === 'data' && bytes instanceof Buffer) received.push(bytes);
    return emit(event, ...values);
  };
  stream.write = (bytes: Buffer, ...rest: never[]) => {
    sent += bytes.length;
    return write(bytes, ...rest);
  };
  return {
    seed,
    finish: () => {
      Object.assign(stream, { write, emit });
      return { seed, received: Buffer.concat(received), sent };
    },
  };
}

/** A stream that begins with a recorded connection. */
export interface Replay {
  readonly stream: Duplex;
  /** Continues the stream with that of a restored guest. */
  readonly attach: (guest: Duplex) => void;
  /** Returns true after the client has sent what it sent when it was recorded. */
  readonly isComplete: () => boolean;
}

/** Repeats a recorded connection for a client: the server's bytes are there at once, and those of the client are discarded. */
export function replayConnection({ received, sent }: RecordedConnection): Replay {
  let guest: Duplex | undefined;
  let left = sent;
  let resume: (() => void) | undefined;
  const stream = new Duplex({
    read: () => void guest?.resume(),
    write: (bytes: Buffer, _encoding, done) => {
      const rest = bytes.subarray(left);
      left = Math.max(0, left - bytes.length);
      if (rest.length === 0) return done();
      const pass = (): void => void guest?.write(rest, done);
      if (guest === undefined) resume = pass;
      else pass();
    },
    final: (done) => {
      guest?.end();
      done();
    },
    destroy: (error, done) => {
      guest?.destroy();
      done(error);
    },
  });
  stream.push(received);
  return {
    stream,
    isComplete: () => left === 0,
    attach: (opened) => {
      if (stream.destroyed) return void opened.destroy();
      guest = opened;
      join(stream, opened);
      resume?.();
    },
  };
}

/**
 * Connects a client by a recorded connection to a guest that is being restored. `opened` settles with the guest's stream.
 * @throws Error where the client did not repeat the connection; GuestError
 */
export async function repeatConnection(
  connection: RecordedConnection,
  opened: Promise<Duplex>,
  connect: (access: { readonly stream: Duplex; readonly seed: KeyExchangeSeed }) => Promise<Guest>,
): Promise<Guest> {
  const { stream, attach, isComplete } = replayConnection(connection);
  opened.then(attach).catch(() => stream.destroy());
  const guest = await connect({ stream, seed: connection.seed });
  await opened;
  if (isComplete()) return guest;
  await guest[Symbol.asyncDispose]();
  throw new Error('its connection was not repeated');
}

/** Passes the bytes of a guest until its stream ends. */
function join(stream: Duplex, guest: Duplex): void {
  guest
    .on('data', (bytes: Buffer) => {
      if (!stream.push(bytes)) guest.pause();
    })
    .on('end', () => void stream.push(null))
    .on('error', (error) => stream.destroy(error))
    .on('close', () => {
      // bytes before an orderly end may be unread
      if (!guest.readableEnded) stream.destroy();
    });
}
