import { closeSync } from 'node:fs';
import { loadNative } from './load.ts';

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** struct cmsghdr: length (8 bytes), level, type; the next begins at a multiple of 8 (cmsg(3)). */
const CMSG_HEADER = 16;
const MSGHDR_BYTES = 56;
const CONTROL_LENGTH_AT = 40;
const FLAGS_AT = 48;
/** `msg_flags`: the kernel could not hand over all descriptors */
const MSG_CTRUNC = 0x8;
/** one message carries 253 descriptors at most (unix(7)) */
const CONTROL_BYTES = 1032;
const DATA_BYTES = 65_536;

/** What one read of a UNIX socket gave. */
export interface Received {
  /** of length 0 at the end of the stream */
  readonly bytes: Buffer;
  /** descriptors that came with the bytes; they are whoever's takes them, and closed in programs that we start */
  readonly fds: readonly number[];
  /** descriptors were lost: this process cannot have more open */
  readonly isCut: boolean;
}

/**
 * Reads what there is, `most` bytes of it (64 KiB unless given), descriptors too (SCM_RIGHTS); undefined: nothing yet.
 * Throws when the connection broke.
 */
export type Receive = (fd: number, most?: number) => Received | undefined;

/** All reads share one piece of memory outside of the heap. */
export async function createReceive(): Promise<Receive> {
  const { koffi, libc } = await loadNative();
  const recvmsg: (fd: number, message: Buffer, flags: number) => number = libc.func(
    'long recvmsg(int, void *, int)',
  );
  const { EAGAIN, EINTR } = koffi.os.errno;
  const [data, control] = [Buffer.alloc(DATA_BYTES), Buffer.alloc(CONTROL_BYTES)];
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(koffi.address(data), 0);
  const header = Buffer.alloc(MSGHDR_BYTES);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(koffi.address(control), 32);

  return (fd, most = DATA_BYTES) => {
    vector.writeBigUInt64LE(BigInt(Math.min(most, DATA_BYTES)), 8);
    // named anew at each call, which also keeps the vector from being collected
    header.writeBigUInt64LE(koffi.address(vector), 16);
    // the kernel writes back how much there is
    header.writeBigUInt64LE(BigInt(CONTROL_BYTES), CONTROL_LENGTH_AT);
    const length = recvmsg(fd, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0) {
      const code = koffi.errno();
      if (code === EAGAIN || code === EINTR) return undefined;
      throw new Error(`recvmsg failed with error ${code}`);
    }
    const used = control.subarray(0, Number(header.readBigUInt64LE(CONTROL_LENGTH_AT)));
    const isCut = (header.readInt32LE(FLAGS_AT) & MSG_CTRUNC) !== 0;
    return { bytes: Buffer.from(data.subarray(0, length)), fds: descriptorsIn(used), isCut };
  };
}

function descriptorsIn(control: Buffer): number[] {
  const fds: number[] = [];
  for (let at = 0; at + CMSG_HEADER <= control.length;) {
    const length = Number(control.readBigUInt64LE(at));
    const isRights =
      control.readInt32LE(at + 8) === SOL_SOCKET && control.readInt32LE(at + 12) === SCM_RIGHTS;
    const end = isRights ? at + length : at;
    for (let i = at + CMSG_HEADER; i + 4 <= end; i += 4) fds.push(control.readInt32LE(i));
    at += Math.max(CMSG_HEADER, Math.ceil(length / 8) * 8);
  }
  return fds;
}

/** Closes descriptors that nobody took. */
export function closeReceived(fds: readonly number[]): void {
  for (const fd of fds) closeSync(fd);
}
