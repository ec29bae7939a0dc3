import { prepareDisk } from './disk/prepare.ts';
import { prepareFs } from './fs/prepare.ts';
import { prepareNet } from './net/prepare.ts';
import { prepareIvshmem } from './ivshmem/prepare.ts';
import { preparePmem } from './pmem/prepare.ts';
import type { Preparer } from './prepare.ts';
import { prepareRng } from './rng/prepare.ts';
import { prepareSerial } from './serial/prepare.ts';
import { prepareTpm } from './tpm/prepare.ts';
import { prepareVfio } from './vfio/prepare.ts';
import { prepareVirtioMem } from './virtio-mem/prepare.ts';
import { prepareVsock } from './vsock/prepare.ts';

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
