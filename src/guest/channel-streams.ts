import { Readable, Writable } from 'node:stream';
import type { ClientChannel } from 'ssh2';

/** Output that is kept for a slow reader in each stream, beside ssh2's window of 2 MiB, in bytes. */
const KEPT_BYTES = 65_536;

/** Output that ssh2 keeps at most where the server respects the window of 2 MiB, and some to spare, in bytes. */
const WINDOW_BYTES_MAX = 16 * 2 ** 20;

/** Changes output on its way. */
export interface OutputFilter {
  readonly filter: (bytes: Buffer) => Buffer | undefined;
  readonly flush: () => Buffer | undefined;
}

/** Passes all output. */
export const UNCHANGED: OutputFilter = { filter: (bytes) => bytes, flush: () => undefined };

/** Streams of a channel. They end, fail and are destroyed as Node's own, which ssh2's channel does not. */
export interface ChannelStreams {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Settles when the server has closed the channel and all output has been passed on. Never rejects */
  readonly closed: Promise<void>;
}

/**
 * Opens the streams of a channel. A stream whose end the server has not sent fails with the reason of `lost`.
 *
 * stdout and stderr share the window of the channel. ssh2 opens it again when one of them is read, whatever the other holds; here both
 * must have been read, so that the memory is bounded.
 */
export function openStreams(
  channel: ClientChannel,
  lost: () => Error | undefined,
  output: OutputFilter = UNCHANGED,
): ChannelStreams {
  const grant = holdWindow(channel);
  const stdout = readFrom(channel, grant, lost, output);
  const stderr = readFrom(channel.stderr, grant, lost, UNCHANGED);
  const stdin = writeTo(channel);
  const ended = [channel, channel.stderr].map(
    (stream) => new Promise((resolve) => stream.once('end', resolve)),
  );
  const closed = new Promise((resolve) => channel.once('close', resolve));
  return {
    stdin,
    stdout,
    stderr,
    // ssh2 never completes a write to a closed channel
    closed: Promise.all([closed, ...ended]).then(() => void stdin.destroy()),
  };
}

/** Takes the control of the receive window from ssh2. Returns the function that opens it again as far as both outputs were read. */
function holdWindow(channel: ClientChannel): () => void {
  const { stderr } = channel;
  const open = channel._read.bind(channel);
  channel._read = () => undefined;
  stderr._read = () => undefined;
  return () => {
    if (channel.readableLength === 0 && stderr.readableLength === 0) open(0);
  };
}

function readFrom(
  source: Readable,
  grant: () => void,
  lost: () => Error | undefined,
  { filter, flush }: OutputFilter,
): Readable {
  const reader = new Readable({
    highWaterMark: KEPT_BYTES,
    read: () => void source.resume(),
    destroy: (error, done) => {
      // output without a reader is discarded: the command continues
      source.resume();
      done(error);
    },
  });
  const pass = (bytes: Buffer | undefined): void => {
    if (bytes === undefined || bytes.length === 0 || reader.destroyed) return;
    if (!reader.push(bytes)) source.pause();
  };
  source.on('data', (bytes: Buffer) => {
    pass(filter(bytes));
    grant();
  });
  const isWhole = watchEnd(source, lost, (error) => void reader.destroy(error));
  source.once('end', () => {
    pass(flush());
    const error = isWhole() ? undefined : lost();
    if (error === undefined) reader.push(null);
    else reader.destroy(error);
  });
  // an error of a stream without a reader ends no program
  reader.on('error', () => undefined);
  return reader;
}

/** Returns a function that says whether the server has sent the end: ssh2 ends the streams of a lost connection, too. */
function watchEnd(
  source: Readable,
  lost: () => Error | undefined,
  exceed: (error: Error) => void,
): () => boolean {
  let isWhole = false;
  const push = source.push.bind(source);
  source.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (chunk === null && lost() === undefined) isWhole = true;
    // ssh2 keeps what a hostile server sends beyond the window
    if (chunk !== null && source.readableLength > WINDOW_BYTES_MAX) {
      exceed(new Error('the SSH server sent more than the window of a channel allows'));
      return false;
    }
    return push(chunk, encoding);
  };
  return () => isWhole;
}

function writeTo(channel: ClientChannel): Writable {
  const writer = new Writable({
    write: (bytes: Buffer, _encoding, done) => void channel.write(bytes, done),
    final: (done) => {
      channel.end();
      done();
    },
  });
  writer.on('error', () => undefined);
  return writer;
}
