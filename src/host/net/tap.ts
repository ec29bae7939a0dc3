import { closeSync, constants, openSync } from 'node:fs';
import { codeOf, reasonOf } from '../../util/errno.ts';
import {
  ifreqFor,
  interfaceAttribute,
  interfaceExists,
  ioctl,
  isUp,
  macOf,
  nameIn,
  setAddress,
  setMac,
  setMtu,
  setUp,
} from './network-interface.ts';

/** linux/if_tun.h */
const TUNSETIFF = 0x4004_54ca;
const TUNGETIFF = 0x8004_54d2;
const TUNSETQUEUE = 0x4004_54d9;
const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_ATTACH_QUEUE = 0x0200;
export const IFF_DETACH_QUEUE = 0x0400;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
/** of the flags in a struct ifreq, in `bytes` */
const FLAGS_AT = 16;
/** sets close-on-exec (ioctl_tty(2)) */
const FIOCLEX = 0x5451;

/** The kernel replaces `%d` with the lowest free number. */
const TEMPLATE = 'vmtap%d';

/** Requested properties of a TAP. */
export interface TapRequest {
  /** undefined: a new one with a name of the template */
  readonly name: string | undefined;
  /** address of the host's side, where the TAP is new */
  readonly ip: string;
  readonly mask: string;
  /** undefined: unchanged */
  readonly hostMac: string | undefined;
  /** in `bytes`; undefined: unchanged */
  readonly mtu: number | undefined;
  /** pairs of a receiving and a sending queue */
  readonly pairs: number;
}

/** A TAP with one open descriptor for each pair of queues. The kernel removes a new one when they are closed. */
export interface Tap {
  readonly name: string;
  readonly hostMac: string;
  readonly fds: readonly number[];
  readonly close: () => void;
}

/** Opens a TAP, creates it where there is none of that name, and sets it up. Rejects with its name and the reason, and leaves nothing. */
export async function openTap(request: TapRequest): Promise<Tap> {
  const isNew = request.name === undefined || !interfaceExists(request.name);
  if (request.name !== undefined && !isNew) checkExisting(request.name, request.pairs);
  const fds: number[] = [];
  const close = (): void => {
    for (const fd of fds.splice(0)) closeSync(fd);
  };
  try {
    let name = request.name ?? TEMPLATE;
    for (let i = 0; i < request.pairs; i++) {
      fds.push(openDevice());
      name = await attach(fds[i] ?? -1, name, request.pairs > 1);
    }
    await configure(name, request, isNew);
    return { name, hostMac: await macOf(name), fds: [...fds], close };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * Inspects descriptors that this process received; QEMU gets copies, and they stay open for the next boot.
 * Rejects with the number of the first that is no TAP.
 * @returns the name of their interface
 */
export async function inspectTapDescriptors(fds: readonly number[]): Promise<string> {
  const names = new Set<string>();
  for (const fd of fds) {
    const request = ifreqFor('');
    await ioctl(fd, TUNGETIFF, request).catch((error: unknown) => {
      throw new Error(`fd ${fd} is no TAP of this process: ${reasonOf(error)}`, { cause: error });
    });
    await attachQueue(fd);
    // QEMU gets copies of its own; it must not inherit these as well
    await ioctl(fd, FIOCLEX, Buffer.alloc(8));
    names.add(nameIn(request));
  }
  const [name = '', ...others] = names;
  if (others.length > 0) throw new Error(`the descriptors belong to several TAPs: ${[...names].join(', ')}`);
  if (new Set(fds).size !== fds.length) throw new Error('a descriptor is there twice');
  return name;
}

/**
 * Attaches a queue that an earlier QEMU detached because its guest used fewer. The state belongs to the open file description,
 * which outlives that QEMU, and the next one aborts where a queue is detached.
 */
export async function attachQueue(fd: number): Promise<void> {
  await setQueue(fd, IFF_ATTACH_QUEUE);
}

/** Attaches or detaches a queue. Nothing happens where it is so already, or is the only one. */
export async function setQueue(
  fd: number,
  flag: typeof IFF_ATTACH_QUEUE | typeof IFF_DETACH_QUEUE,
): Promise<void> {
  const request = ifreqFor('');
  request.writeUInt16LE(flag, FLAGS_AT);
  await ioctl(fd, TUNSETQUEUE, request).catch((error: unknown) => {
    if (codeOf(error) !== 'EINVAL') throw error;
  });
}

/** Returns the flags of a queue (linux/if_tun.h). */
export async function queueFlags(fd: number): Promise<number> {
  const request = ifreqFor('');
  await ioctl(fd, TUNGETIFF, request);
  return request.readUInt16LE(FLAGS_AT);
}

function openDevice(): number {
  try {
    return openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    const remedy = 'load the module tun and let this user open it';
    throw new Error(`/dev/net/tun: ${reasonOf(error)}: ${remedy}, or use backend=user`, { cause: error });
  }
}

/** @returns the name that the kernel chose */
async function attach(fd: number, name: string, multiQueue: boolean): Promise<string> {
  const request = ifreqFor(name);
  request.writeUInt16LE(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (multiQueue ? IFF_MULTI_QUEUE : 0), FLAGS_AT);
  await ioctl(fd, TUNSETIFF, request).catch((error: unknown) => {
    throw new Error(`${name === TEMPLATE ? 'a TAP of its own' : `tap ${name}`}: ${whyNot(error, name)}`, {
      cause: error,
    });
  });
  return nameIn(request);
}

function whyNot(error: unknown, name: string): string {
  const code = codeOf(error);
  if (code === 'EBUSY') return 'is in use by another program';
  if (code !== 'EPERM') return reasonOf(error);
  const prepared = name === TEMPLATE ? 'NAME' : name;
  return (
    'no right to use it: grant CAP_NET_ADMIN, let root prepare it ' +
    `(ip tuntap add dev ${prepared} mode tap user ${process.getuid?.() ?? 'USER'}; ip link set dev ${prepared} up), ` +
    'or use backend=user'
  );
}

/** Checks an existing interface: TUNSETIFF would only report an invalid argument. */
function checkExisting(name: string, pairs: number): void {
  const text = interfaceAttribute(name, 'tun_flags');
  const flags = Number(text ?? 0);
  if ((flags & IFF_TAP) === 0) throw new Error(`tap ${name}: is an interface of another kind, not a TAP`);
  const multiQueue = (flags & IFF_MULTI_QUEUE) !== 0;
  if (multiQueue && pairs === 1) {
    throw new Error(`tap ${name}: was made with multi_queue: num_queues must be at least 4`);
  }
  if (!multiQueue && pairs > 1) {
    throw new Error(`tap ${name}: was made without multi_queue: num_queues can only be 2`);
  }
  // the kernel would attach the queues of both programs
  if (interfaceAttribute(name, 'carrier') === '1') {
    throw new Error(`tap ${name}: is in use by another program`);
  }
}

/** Sets the properties that differ: a TAP that root prepared needs no rights then. */
async function configure(
  name: string,
  { ip, mask, hostMac, mtu }: TapRequest,
  isNew: boolean,
): Promise<void> {
  const change = async (what: string, act: () => Promise<void>): Promise<void> => {
    await act().catch((error: unknown) => {
      const remedy = codeOf(error) === 'EPERM' ? ': grant CAP_NET_ADMIN, or let root do it beforehand' : '';
      throw new Error(`tap ${name}: its ${what} could not be set: ${reasonOf(error)}${remedy}`, {
        cause: error,
      });
    });
  };
  if (isNew) await change(`address ${ip}/${mask}`, () => setAddress(name, ip, mask));
  if (mtu !== undefined && interfaceAttribute(name, 'mtu') !== String(mtu)) {
    await change(`mtu ${mtu}`, () => setMtu(name, mtu));
  }
  if (hostMac !== undefined && (await macOf(name)) !== hostMac) {
    await change(`host_mac ${hostMac}`, () => setMac(name, hostMac));
  }
  if (!(await isUp(name))) await change('state up', () => setUp(name));
}
