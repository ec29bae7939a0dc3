import * as v from 'valibot';
import type { DeviceStep, NetdevStep, ObjectStep, StepProps } from '../../../devices/common/step.ts';
import { action, queryWith } from '../command.ts';

const VirtioStatus = v.object({
  /** interrupt status: 0 if the guest has acknowledged every interrupt */
  isr: v.number(),
  /** names of the bits that are set, e.g. `VIRTIO_CONFIG_S_DRIVER_OK: Driver setup and ready` */
  status: v.object({ statuses: v.array(v.string()) }),
  /** features that the driver has accepted, e.g. `VIRTIO_NET_F_MQ: Device supports multiqueue with automatic receive steering` */
  'guest-features': v.object({ 'dev-features': v.array(v.string()) }),
});

const VirtioQueueStatus = v.object({
  /** number of requests that QEMU has taken, modulo 2^16; absent for some queues of vhost devices, which are not queried */
  'last-avail-idx': v.number(),
  /** number of requests that are taken and not answered */
  inuse: v.number(),
});

/** Objects, network back-ends and devices. Properties are those of the steps of a plan. */
export const deviceCommands = {
  'object-add': action<ObjectStep['props']>(),
  'object-del': action<{ readonly id: string }>(),
  netdev_add: action<NetdevStep['props']>(),
  netdev_del: action<{ readonly id: string }>(),
  device_add: action<DeviceStep['props']>(),
  /** Asks the guest to release a device; `DEVICE_DELETED` follows. `id` is an id or a QOM path. */
  device_del: action<{ readonly id: string }>(),
  'qom-set': action<{
    readonly path: string;
    readonly property: string;
    readonly value: number | string | StepProps;
  }>(),
  /** QEMU refuses it for a path that is no virtio device. */
  'x-query-virtio-status': queryWith<{ readonly path: string }, v.InferOutput<typeof VirtioStatus>>(
    VirtioStatus,
  ),
  'x-query-virtio-queue-status': queryWith<
    { readonly path: string; readonly queue: number },
    v.InferOutput<typeof VirtioQueueStatus>
  >(VirtioQueueStatus),
};
