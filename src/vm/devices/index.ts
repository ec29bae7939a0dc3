/*
 * Actions for devices, one folder for each kind; `src/devices/<kind>/` has the pure description. The table below has the preparations:
 * they find, open or make host resources before QEMU makes the device. `states.ts` has the kinds whose state QEMU does not
 * save. A kind without actions has no folder here.
 */
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

/** Preparations by kind; a kind without a row needs no host resources. */
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
