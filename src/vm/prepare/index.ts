import { prepareDisk } from './disk.ts';
import { prepareFs } from './fs.ts';
import { prepareNet } from './net.ts';
import { prepareIvshmem } from './ivshmem.ts';
import { preparePmem } from './pmem.ts';
import type { Preparer } from './prepare.ts';
import { prepareRng } from './rng.ts';
import { prepareSerial } from './serial.ts';
import { prepareTpm } from './tpm.ts';
import { prepareVfio } from './vfio.ts';
import { prepareVirtioMem } from './virtio-mem.ts';
import { prepareVsock } from './vsock.ts';

/** What each kind of device needs of the host; a device that is not here needs nothing. */
export const PREPARERS: readonly Preparer[] = [
  prepareSerial,
  prepareDisk,
  prepareNet,
  preparePmem,
  prepareRng,
  prepareFs,
  prepareVirtioMem,
  prepareVfio,
  prepareVsock,
  prepareIvshmem,
  prepareTpm,
];
