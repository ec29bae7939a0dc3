import { loadLibc } from '../../native/libc.ts';
import { checked } from '../../native/system-error.ts';
import { attachQueue, IFF_DETACH_QUEUE, queueFlags, setQueue } from './tap.ts';
import { ioctl } from './network-interface.ts';

/** linux/if_tun.h */
const TUNSETOFFLOAD = 0x4004_54d0;
const TUNGETVNETHDRSZ = 0x8004_54d7;
const TUNSETVNETHDRSZ = 0x4004_54d8;

/** fcntl.h */
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

/** Bits of TUNSETOFFLOAD by the features of virtio-net (specification 1.2, 5.1.3) with which the guest accepts such packets. */
const OFFLOADS: Readonly<Record<string, number>> = {
  VIRTIO_NET_F_GUEST_CSUM: 0x01,
  VIRTIO_NET_F_GUEST_TSO4: 0x02,
  VIRTIO_NET_F_GUEST_TSO6: 0x04,
  VIRTIO_NET_F_GUEST_ECN: 0x08,
  VIRTIO_NET_F_GUEST_UFO: 0x10,
  VIRTIO_NET_F_GUEST_USO4: 0x20,
  VIRTIO_NET_F_GUEST_USO6: 0x40,
};

/** Returns the offloads of a TAP for a guest with these features of virtio-net. Pure. */
export function offloadsOf(features: readonly string[]): number {
  const all = features.reduce((bits, name) => bits | (OFFLOADS[name] ?? 0), 0);
  // the kernel accepts no segments without their checksums
  return (all & 1) === 0 ? 0 : all;
}

/** Settings of a TAP that a QEMU changes when it opens the TAP. They belong to the open files, which two QEMUs have in common. */
export interface TapSettings {
  /** Attaches the queues that the guest does not use: QEMU aborts at a detached one. */
  readonly attachQueues: () => Promise<void>;
  /** Restores the settings for the QEMU that had the TAP before. `offloads` is the result of {@link offloadsOf}. */
  readonly restore: (offloads: number) => Promise<void>;
}

/** Reads the settings of a TAP. `fds` has a descriptor for each pair of queues. Rejects with the system's error. */
export async function readTapSettings(fds: readonly number[]): Promise<TapSettings> {
  const [first = -1] = fds;
  const header = Buffer.alloc(4);
  await ioctl(first, TUNGETVNETHDRSZ, header);
  const detached: number[] = [];
  for (const fd of fds) if (((await queueFlags(fd)) & IFF_DETACH_QUEUE) !== 0) detached.push(fd);
  return {
    attachQueues: async () => {
      for (const fd of detached) await attachQueue(fd);
    },
    restore: async (offloads) => {
      const { fcntl, ioctl_value: ioctlValue } = await loadLibc();
      for (const fd of fds) {
        await (detached.includes(fd) ? setQueue(fd, IFF_DETACH_QUEUE) : attachQueue(fd));
        checked('fcntl', fcntl(fd, F_SETFL, 'int', O_NONBLOCK));
      }
      await ioctl(first, TUNSETVNETHDRSZ, Buffer.from(header));
      checked('TUNSETOFFLOAD', ioctlValue(first, TUNSETOFFLOAD, offloads));
    },
  };
}
