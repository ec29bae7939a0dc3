import { closeSync, constants, openSync } from 'node:fs';
import koffi from 'koffi';
import { interfaceName, ip, withInterface } from './host-network.ts';

// The libc calls of a client that sends descriptors (SCM_RIGHTS, unix(7)); Node's sockets cannot.

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
const ioctl = libc.func('int ioctl(int, unsigned long, _Inout_ void *)') as (
  fd: number,
  request: number,
  argument: Buffer,
) => number;

/** A client's connection on which each send is one sendmsg. */
export interface SendingClient extends Disposable {
  readonly send: (text: string, fds?: readonly number[]) => void;
  /** The next answer, which one recv brings whole, as libvirt expects it. */
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

/** A request and what travels with it. */
export interface SentRequest {
  readonly body: unknown;
  readonly fds: readonly number[];
}

/** As ch-remote and Kata's runtime-rs send: the descriptors with the request line, the rest in further writes. */
export function sendInParts(client: SendingClient, name: string, { body, fds }: SentRequest): void {
  const text = JSON.stringify(body);
  client.send(`PUT /api/v1/${name} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n`, fds);
  client.send(`Content-Length: ${text.length}\r\n`);
  client.send('\r\n');
  client.send(text);
}

/** As Kata's Go runtime and libvirt send: all in one. */
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
  // named here so that they live until the call is done
  if (sent !== bytes.length || vector.length + control.length === 0) throw new Error('sendmsg failed');
}

/** A TAP of the host with one open descriptor a queue, as a client makes it before it sends them. */
export function openTap(
  queues: number,
): Disposable & { readonly name: string; readonly fds: readonly number[] } {
  const name = interfaceName();
  const multi = queues > 1 ? ['multi_queue'] : [];
  const tap = withInterface(name, 'tuntap', 'add', 'dev', name, 'mode', 'tap', 'vnet_hdr', ...multi);
  ip('link', 'set', 'dev', name, 'up');
  const fds = Array.from({ length: queues }, () => {
    const fd = openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK);
    const request = Buffer.alloc(40);
    request.write(name);
    // IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE (linux/if_tun.h)
    request.writeUInt16LE(0x0002 | 0x1000 | 0x4000 | (queues > 1 ? 0x0100 : 0), 16);
    if (ioctl(fd, 0x4004_54ca, request) !== 0) throw new Error(`tap ${name}: TUNSETIFF failed`);
    return fd;
  });
  const close = (): void => {
    for (const fd of fds.splice(0)) closeSync(fd);
  };
  return {
    name,
    fds,
    [Symbol.dispose]: () => {
      close();
      tap[Symbol.dispose]();
    },
  };
}
