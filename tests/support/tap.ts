/** TAP devices that a test opens, as a client does that sends or passes on their file descriptors. */
import { closeSync, constants, openSync } from 'node:fs';
import koffi from 'koffi';
import { interfaceName, ip, withInterface } from './host-network.ts';
import { descriptorsOf } from './processes.ts';

const libc = koffi.load(null);
type Ioctl = (fd: number, request: number, argument: Buffer) => number;
const ioctl = libc.func('int ioctl(int, unsigned long, _Inout_ void *)') as Ioctl;

/** A TAP with one open file descriptor for each pair of queues. */
export interface OpenTap extends Disposable {
  readonly name: string;
  readonly fds: readonly number[];
}

/** Makes a TAP with `pairs` pairs of queues, and opens each. */
export function openTap(pairs: number): OpenTap {
  const name = interfaceName();
  const multi = pairs > 1 ? ['multi_queue'] : [];
  const tap = withInterface(name, 'tuntap', 'add', 'dev', name, 'mode', 'tap', 'vnet_hdr', ...multi);
  ip('link', 'set', 'dev', name, 'up');
  const fds = Array.from({ length: pairs }, () => {
    const fd = openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK);
    const request = Buffer.alloc(40);
    request.write(name);
    // IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE (linux/if_tun.h)
    request.writeUInt16LE(0x0002 | 0x1000 | 0x4000 | (pairs > 1 ? 0x0100 : 0), 16);
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

/** Returns how many file descriptors of TAPs a process has open. */
export function openTapCount(pid: number): number {
  return descriptorsOf(pid).filter((path) => path === '/dev/net/tun').length;
}
