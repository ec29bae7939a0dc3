import { closeSync } from 'node:fs';
import { createReadiness, type Readiness, type Watch } from '../../native/readiness.ts';
import {
  closeAll,
  createReceive,
  createSend,
  type Receive,
  type Received,
  type Send,
} from '../../native/descriptor-passing.ts';
import { EAGAIN } from '../../native/system-error.ts';
import { encode, HEADER_BYTES, MAX_DESCRIPTORS, MAX_PAYLOAD_BYTES, type Message } from './message.ts';

/** System calls of channels. */
export interface ChannelCalls {
  readonly receive: Receive;
  readonly send: Send;
  readonly readiness: Readiness;
}

/** Loads the calls; `readiness` is the caller's to close. */
export async function loadChannelCalls(): Promise<ChannelCalls> {
  return { receive: await createReceive(), send: await createSend(), readiness: await createReadiness() };
}

/** One vhost-user connection, in whole messages. */
export interface Channel extends Disposable {
  /** The next message; undefined at the end of the connection. Rejects where the peer breaks the protocol. */
  readonly receive: () => Promise<Message | undefined>;
  /** Sends a message and closes its descriptors. @returns false where the connection has ended */
  readonly send: (message: Message) => Promise<boolean>;
}

/** Takes over a connected, non-blocking socket. Its disposal closes it, and settles pending calls. */
export function openChannel(fd: number, calls: ChannelCalls): Channel {
  const socket = openSocket(fd, calls);
  return {
    receive: async () => {
      const fds: number[] = [];
      const message = await readMessage(socket, fds).catch((error: unknown) => {
        closeAll(fds);
        throw error;
      });
      if (message === undefined) closeAll(fds);
      return message;
    },
    send: async (message) => {
      try {
        return await sendBytes(socket, encode(message), message.fds);
      } finally {
        closeAll(message.fds);
      }
    },
    [Symbol.dispose]: socket.close,
  };
}

/** A socket that can be closed during a pending call. */
interface Socket extends ChannelCalls {
  readonly fd: number;
  readonly isClosed: () => boolean;
  /** Settles when the socket may be readable or writable again, or is closed. */
  readonly changed: () => Promise<void>;
  readonly close: () => void;
}

function openSocket(fd: number, calls: ChannelCalls): Socket {
  let waiting: (() => void)[] = [];
  let isClosed = false;
  const wake = (): void => {
    const woken = waiting;
    waiting = [];
    for (const resume of woken) resume();
  };
  const watch = watchOrClose(fd, calls, wake);
  return {
    ...calls,
    fd,
    isClosed: () => isClosed,
    changed: () => new Promise((resolve) => waiting.push(resolve)),
    close: () => {
      if (isClosed) return;
      isClosed = true;
      watch.remove();
      closeSync(fd);
      wake();
    },
  };
}

/** The descriptor is closed where it cannot be watched. */
function watchOrClose(fd: number, { readiness }: ChannelCalls, onChange: () => void): Pick<Watch, 'remove'> {
  try {
    return readiness.watchChanges(fd, onChange);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

async function readMessage(socket: Socket, fds: number[]): Promise<Message | undefined> {
  const header = await readBytes(socket, HEADER_BYTES, fds);
  if (header === undefined) return undefined;
  const [request, size] = [header.readUInt32LE(0), header.readUInt32LE(8)];
  if (size > MAX_PAYLOAD_BYTES) throw new Error(`a message of ${size} bytes, ${MAX_PAYLOAD_BYTES} at most`);
  const payload = await readBytes(socket, size, fds);
  return payload && { request, flags: header.readUInt32LE(4), payload, fds };
}

/** Never reads beyond `length`, so that descriptors belong to the message at hand; they are added to `fds`. */
async function readBytes(socket: Socket, length: number, fds: number[]): Promise<Buffer | undefined> {
  const bytes = Buffer.alloc(length);
  for (let have = 0; have < length;) {
    if (socket.isClosed()) return undefined;
    const got = receiveSome(socket, length - have);
    if (got === undefined) {
      await socket.changed();
      continue;
    }
    fds.push(...got.fds);
    if (got.isCut) throw new Error('file descriptors of a message were lost');
    if (fds.length > MAX_DESCRIPTORS)
      throw new Error(`a message of ${fds.length} file descriptors, ${MAX_DESCRIPTORS} at most`);
    if (got.bytes.length === 0) return undefined;
    have += got.bytes.copy(bytes, have);
  }
  return bytes;
}

/** Reads available bytes; a broken connection counts as ended. */
function receiveSome({ fd, receive }: Socket, most: number): Received | undefined {
  try {
    return receive(fd, most);
  } catch {
    return { bytes: Buffer.alloc(0), fds: [], isCut: false };
  }
}

async function sendBytes(socket: Socket, bytes: Buffer, fds: readonly number[]): Promise<boolean> {
  let [rest, copies] = [bytes, fds];
  while (rest.length > 0) {
    if (socket.isClosed()) return false;
    const sent = socket.send(socket.fd, rest, copies);
    if (sent === -EAGAIN) await socket.changed();
    else if (sent < 0) return false;
    else [rest, copies] = [rest.subarray(sent), []];
  }
  return true;
}
