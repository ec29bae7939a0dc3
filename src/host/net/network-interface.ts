import { closeSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { loadLibc } from '../../native/libc.ts';
import { callError, checked, errno } from '../../native/system-error.ts';
import { AF_INET, SOCK_CLOEXEC, SOCK_DGRAM } from '../../native/unix-socket.ts';

/*
 * Network interfaces of the host: TAPs of guests (`tap.ts`), their rate limits (`tap-rate-limit.ts`) and counters, and the ports of
 * user networking.
 *
 * Invariants: a TAP that this process creates disappears with its descriptors, also when the VMM is killed. An existing interface is
 * changed only where the configuration asks for it, and never taken from another program. Names and addresses are arguments of
 * their own, never parts of a command line.
 */

/** linux/sockios.h: requests about a network interface, each with a struct ifreq. */
const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const SIOCSIFADDR = 0x8916;
const SIOCSIFNETMASK = 0x891c;
const SIOCSIFHWADDR = 0x8924;
const SIOCGIFHWADDR = 0x8927;
const SIOCSIFMTU = 0x8922;

const IFF_UP = 1;

/** struct ifreq: the name, then a union: flags, a struct sockaddr, ... */
const IFREQ_BYTES = 40;
/** Longest name of an interface, in `bytes`. */
export const NAME_MAX = 15;
const UNION = 16;
/** offsets within a struct sockaddr: behind the family, and behind the port of an Internet address */
const SOCKADDR = { hardware: UNION + 2, internet: UNION + 4 };
const MAC_BYTES = 6;

/** Creates a struct ifreq for an interface; with an empty name the kernel chooses one. */
export function ifreqFor(name: string): Buffer {
  const request = Buffer.alloc(IFREQ_BYTES);
  request.write(name, 0, NAME_MAX);
  return request;
}

/** Returns the interface's name in a struct ifreq. */
export function nameIn(request: Buffer): string {
  return request.toString('utf8', 0, request.indexOf(0));
}

/** Calls ioctl(2) with a buffer that the kernel reads and writes. Rejects with the reason, and the code. */
export async function ioctl(fd: number, request: number, argument: Buffer): Promise<void> {
  const libc = await loadLibc();
  if (libc.ioctl(fd, request, argument) === 0) return;
  const number = errno();
  throw Object.assign(new Error(libc.strerror(number)), { code: callError('ioctl', number).code });
}

/** Returns the names of the host's interfaces. */
export function interfaceNames(): string[] {
  return readdirSync('/sys/class/net');
}

/** Returns whether the host has an interface of that name. */
export function interfaceExists(name: string): boolean {
  return existsSync(`/sys/class/net/${name}`);
}

/** Reads one attribute of an interface, e.g. `tun_flags`; undefined where it has none. */
export function interfaceAttribute(name: string, attribute: string): string | undefined {
  try {
    return readFileSync(`/sys/class/net/${name}/${attribute}`, 'utf8').trim();
  } catch {
    // not every kind of interface has every attribute, and one that is down has no carrier
    return undefined;
  }
}

/** Reads the hardware address of an interface. */
export async function macOf(name: string): Promise<string> {
  const request = ifreqFor(name);
  await onInterface(request, SIOCGIFHWADDR);
  const bytes = request.subarray(SOCKADDR.hardware, SOCKADDR.hardware + MAC_BYTES);
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** Sets the hardware address of an interface. */
export async function setMac(name: string, mac: string): Promise<void> {
  const request = ifreqFor(name);
  // the family in the address is the kind of the interface, which stays
  await onInterface(request, SIOCGIFHWADDR);
  Buffer.from(mac.replaceAll(':', ''), 'hex').copy(request, SOCKADDR.hardware);
  await onInterface(request, SIOCSIFHWADDR);
}

/** Sets the MTU of an interface, in `bytes`. */
export async function setMtu(name: string, mtu: number): Promise<void> {
  const request = ifreqFor(name);
  request.writeInt32LE(mtu, UNION);
  await onInterface(request, SIOCSIFMTU);
}

/** Sets the IPv4 address and netmask of an interface. */
export async function setAddress(name: string, ip: string, mask: string): Promise<void> {
  await onInterface(withAddress(name, ip), SIOCSIFADDR);
  await onInterface(withAddress(name, mask), SIOCSIFNETMASK);
}

/** Returns whether an interface is up. */
export async function isUp(name: string): Promise<boolean> {
  const request = ifreqFor(name);
  await onInterface(request, SIOCGIFFLAGS);
  return (request.readUInt16LE(UNION) & IFF_UP) !== 0;
}

/** Sets an interface up. */
export async function setUp(name: string): Promise<void> {
  const request = ifreqFor(name);
  await onInterface(request, SIOCGIFFLAGS);
  request.writeUInt16LE(request.readUInt16LE(UNION) | IFF_UP, UNION);
  await onInterface(request, SIOCSIFFLAGS);
}

function withAddress(name: string, address: string): Buffer {
  const request = ifreqFor(name);
  request.writeUInt16LE(AF_INET, UNION);
  Buffer.from(address.split('.').map(Number)).copy(request, SOCKADDR.internet);
  return request;
}

/** Makes a request on any socket, as the request names its interface. */
async function onInterface(request: Buffer, which: number): Promise<void> {
  const { socket } = await loadLibc();
  const fd = checked('socket', socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  try {
    await ioctl(fd, which, request);
  } finally {
    closeSync(fd);
  }
}
