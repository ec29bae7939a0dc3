/** Clients that send file descriptors with their requests (SCM_RIGHTS, unix(7)). */
import { closeSync } from 'node:fs';
import koffi from 'koffi';

// Node's sockets cannot send file descriptors: these are the calls of libc.

const libc = koffi.load(null);
const socket = libc.func('int socket(int, int, int)') as (
  domain: number,
  type: number,
  protocol: number,
) => number;
const connect = libc.func('int connect(int, const void *, uint32_t)') as (
  fd: number,
  to: Buffer,
  n: number,
) => number;
const sendmsg = libc.func('long sendmsg(int, const void *, int)') as (
  fd: number,
  m: Buffer,
  f: number,
) => number;
const recv = libc.func('long recv(int, void *, size_t, int)');

/** A client's connection; each `send` is one sendmsg(2). */
export interface SendingClient extends Disposable {
  readonly send: (text: string, fds?: readonly number[]) => void;
  /** Returns the next answer, read by one recv(2), as libvirt does. */
  readonly answer: () => Promise<string>;
}

/** Connects to a UNIX socket. */
export function connectSending(path: string): SendingClient {
  const fd = socket(1, 1, 0);
  const address = Buffer.alloc(110);
  address.writeUInt16LE(1, 0);
  address.write(path, 2);
  if (connect(fd, address, 2 + Buffer.byteLength(path) + 1) !== 0)
    throw new Error(`no connection to ${path}`);
  return {
    send: (text, fds = []) => sendAll(fd, Buffer.from(text), fds),
    answer: () =>
      new Promise((resolve, reject) => {
        const buffer = Buffer.alloc(1023);
        recv.async(fd, buffer, buffer.length, 0, (error: unknown, length: unknown) => {
          if (error === null || error === undefined) resolve(buffer.toString('utf8', 0, Number(length)));
          else reject(error instanceof Error ? error : new Error('recv failed'));
        });
      }),
    [Symbol.dispose]: () => closeSync(fd),
  };
}

/** A request and the file descriptors that are sent with it. */
export interface SentRequest {
  readonly body: unknown;
  readonly fds: readonly number[];
}

/** Sends as ch-remote and Kata's runtime-rs do: file descriptors with the request line, the rest in further writes. */
export function sendInParts(client: SendingClient, name: string, { body, fds }: SentRequest): void {
  const text = JSON.stringify(body);
  client.send(`PUT /api/v1/${name} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n`, fds);
  client.send(`Content-Length: ${text.length}\r\n`);
  client.send('\r\n');
  client.send(text);
}

/** Sends as Kata's Go runtime and libvirt do: all in one write. */
export function sendAtOnce(client: SendingClient, name: string, { body, fds }: SentRequest): void {
  const text = JSON.stringify(body);
  const head = `PUT /api/v1/${name} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`;
  client.send(`${head}Content-Length: ${text.length}\r\n\r\n${text}`, fds);
}

function sendAll(fd: number, bytes: Buffer, fds: readonly number[]): void {
  const control = Buffer.alloc(Math.ceil((16 + 4 * fds.length) / 8) * 8);
  control.writeBigUInt64LE(BigInt(16 + 4 * fds.length), 0);
  control.writeInt32LE(1, 8);
  control.writeInt32LE(1, 12);
  fds.forEach((one, i) => control.writeInt32LE(one, 16 + 4 * i));
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(koffi.address(bytes), 0);
  vector.writeBigUInt64LE(BigInt(bytes.length), 8);
  const header = Buffer.alloc(56);
  header.writeBigUInt64LE(koffi.address(vector), 16);
  header.writeBigUInt64LE(1n, 24);
  if (fds.length > 0) {
    header.writeBigUInt64LE(koffi.address(control), 32);
    header.writeBigUInt64LE(BigInt(control.length), 40);
  }
  const sent = sendmsg(fd, header, 0);
  // used here so that they are not collected before the call returns
  if (sent !== bytes.length || vector.length + control.length === 0) throw new Error('sendmsg failed');
}
