import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadLibc } from '../../native/libc.ts';
import { openTap, queueFlags, setQueue, IFF_DETACH_QUEUE } from './tap.ts';
import { ioctl } from './network-interface.ts';
import { offloadsOf, readTapSettings } from './tap-settings.ts';

/** linux/if_tun.h */
const TUNGETVNETHDRSZ = 0x8004_54d7;
const TUNSETVNETHDRSZ = 0x4004_54d8;

/** Bytes of a struct virtio_net_hdr with and without the number of buffers. */
const [WITH_BUFFERS, WITHOUT_BUFFERS] = [12, 10];

async function headerOf(fd: number): Promise<number> {
  const size = Buffer.alloc(4);
  await ioctl(fd, TUNGETVNETHDRSZ, size);
  return size.readInt32LE();
}

async function setHeader(fd: number, bytes: number): Promise<void> {
  const size = Buffer.alloc(4);
  size.writeInt32LE(bytes);
  await ioctl(fd, TUNSETVNETHDRSZ, size);
}

test('offloads follow the features of the guest', () => {
  assert.equal(offloadsOf(['VIRTIO_NET_F_MRG_RXBUF', 'VIRTIO_NET_F_CSUM']), 0);
  assert.equal(offloadsOf(['VIRTIO_NET_F_GUEST_CSUM', 'VIRTIO_NET_F_GUEST_TSO4']), 3);
  assert.equal(offloadsOf(['VIRTIO_NET_F_GUEST_TSO6']), 0, 'segments need checksums');
});

const isRoot = process.getuid?.() === 0;

test('settings of a TAP are restored: header, queues, mode', { skip: !isRoot && 'needs root' }, async () => {
  await loadLibc();
  const tap = await openTap({
    name: undefined,
    ip: '10.91.78.1',
    mask: '255.255.255.0',
    hostMac: undefined,
    mtu: undefined,
    pairs: 2,
  });
  const [one = -1, two = -1] = tap.fds;
  const isDetached = async (fd: number): Promise<boolean> =>
    ((await queueFlags(fd)) & IFF_DETACH_QUEUE) !== 0;
  try {
    await setHeader(one, WITH_BUFFERS);
    await setQueue(two, IFF_DETACH_QUEUE);
    const settings = await readTapSettings(tap.fds);
    await settings.attachQueues();
    assert.equal(await isDetached(two), false);
    await setHeader(one, WITHOUT_BUFFERS);
    await settings.restore(offloadsOf(['VIRTIO_NET_F_GUEST_CSUM', 'VIRTIO_NET_F_GUEST_TSO4']));
    assert.equal(await headerOf(one), WITH_BUFFERS);
    assert.deepEqual([await isDetached(one), await isDetached(two)], [false, true]);
  } finally {
    tap.close();
  }
});
