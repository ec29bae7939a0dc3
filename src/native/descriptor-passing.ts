import type { Duplex } from 'node:stream';
import { getSystemErrorName } from 'node:util';
import { descriptorOf, loadNative, type Native } from './load.ts';

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
/** struct cmsghdr: length (8 bytes), level, type; on 64-bit Linux everything in it is aligned to 8 (cmsg(3)). */
const CMSG_HEADER = 16;
const MSGHDR = 56;

/** Sends what goes at once, with copies of descriptors. @returns how many bytes went, or the negative errno */
export type Send = (fd: number, bytes: Buffer, fds: readonly number[]) => number;

/** MSG_DONTWAIT, MSG_NOSIGNAL (sys/socket.h) */
const NOW = 0x40 | 0x4000;

/** Makes the call that sends descriptors (SCM_RIGHTS, unix(7)). */
export function createSend({ koffi, libc }: Native): Send {
  const sendmsg = libc.func('long sendmsg(int, const void *, int)');
  return (fd, bytes, fds) => {
    const control = fds.length === 0 ? undefined : controlOf(fds);
    const vector = Buffer.alloc(16);
    vector.writeBigUInt64LE(koffi.address(bytes), 0);
    vector.writeBigUInt64LE(BigInt(bytes.length), 8);
    const header = Buffer.alloc(MSGHDR);
    header.writeBigUInt64LE(koffi.address(vector), 16);
    header.writeBigUInt64LE(1n, 24);
    if (control !== undefined) {
      header.writeBigUInt64LE(koffi.address(control), 32);
      header.writeBigUInt64LE(BigInt(control.length), 40);
    }
    const sent = Number(sendmsg(fd, header, NOW));
    return sent < 0 ? -koffi.errno() : sent;
  };
}

/**
 * Sends a message with copies of descriptors over a connected UNIX socket of Node's.
 * Rejects where the socket is gone or does not take the message whole.
 */
export async function sendDescriptors(
  stream: Duplex,
  message: Buffer,
  fds: readonly number[],
): Promise<void> {
  const send = createSend(await loadNative());
  await flushed(stream);
  const sent = send(descriptorOf(stream), message, fds);
  if (sent === message.length) return;
  const reason = sent < 0 ? getSystemErrorName(sent) : 'the message did not go whole';
  throw new Error(`the descriptors ${fds.join(', ')} could not be sent: ${reason}`);
}

/** What Node has not written yet goes first. */
async function flushed(stream: Duplex): Promise<void> {
  if (stream.writableLength > 0) await new Promise((resolve) => stream.write('', resolve));
}

function controlOf(fds: readonly number[]): Buffer {
  const length = CMSG_HEADER + fds.length * 4;
  const control = Buffer.alloc(Math.ceil(length / 8) * 8);
  control.writeBigUInt64LE(BigInt(length), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  fds.forEach((fd, i) => control.writeInt32LE(fd, CMSG_HEADER + i * 4));
  return control;
}
