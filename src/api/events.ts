import type { DocumentFragment } from '../schema/field.ts';

/*
 * Events of the VMM and its VM, by the names and with the properties of Cloud Hypervisor.
 */

/** Lifecycle events of a VM, by Cloud Hypervisor's names. */
export type LifecycleEvent =
  | 'booting'
  | 'booted'
  | 'pausing'
  | 'paused'
  | 'resuming'
  | 'resumed'
  | 'shutdown'
  | 'deleted'
  | 'resizing'
  | 'resized'
  | 'snapshotting'
  | 'snapshotted'
  | 'coredumping'
  | 'coredumped'
  | 'restoring'
  | 'restored';

/** An event of the VMM or its VM, as the event monitor records it. */
export type VmEvent =
  | { readonly source: 'vmm'; readonly event: 'starting' | 'shutdown' }
  | { readonly source: 'vm'; readonly event: LifecycleEvent }
  /** the guest's driver has activated a device, or reset it */
  | {
      readonly source: 'virtio-device';
      readonly event: 'activated' | 'reset';
      readonly properties: { readonly id: string };
    }
  /** the guest has ejected a device */
  | {
      readonly source: 'vm';
      readonly event: 'device-removed';
      readonly properties: { readonly id: string; readonly bdf: string };
    }
  /** QEMU exited unexpectedly, or a reboot failed; `shutdown` follows if a machine ran */
  | { readonly source: 'vm'; readonly event: 'crashed'; readonly properties: { readonly reason: string } }
  /** the guest did not serve its watchdog in time: a reset follows */
  | { readonly source: 'vm'; readonly event: 'watchdog' }
  /** a panic of the guest's kernel, reported by its pvpanic device */
  | {
      readonly source: 'guest';
      readonly event: 'panic';
      readonly properties: { readonly event: 'panic' | 'crash_loaded' };
    }
  /** the guest reset itself, and the VMM exits for that reason (`--on-reboot exit`) */
  | { readonly source: 'guest'; readonly event: 'reset' }
  /** number of events of one kind, and of device `id` if they have one, above the rate limit */
  | {
      readonly source: 'vm' | 'virtio-device' | 'guest';
      readonly event: 'dropped';
      readonly properties: { readonly event: string; readonly id?: string; readonly count: string };
    }
  /** an I/O error of the host for a disk, which the guest received */
  | {
      readonly source: 'virtio-device';
      readonly event: 'block-io-error';
      readonly properties: { readonly id: string; readonly operation: string };
    }
  /**
   * State and progress of a long operation. Streams of events have it, the event monitor has not: its readers know the events of Cloud
   * Hypervisor. `kind` is the endpoint, e.g. `vm.snapshot`, `phase` the step; `done` and `total` are bytes.
   */
  | {
      readonly source: 'vmm';
      readonly event: 'operation';
      readonly properties: {
        readonly id: string;
        readonly kind: string;
        readonly state: string;
        readonly phase?: string;
        readonly done?: string;
        readonly total?: string;
      };
    };

/** An event about a stream of events itself. It has no sequence number. */
export type StreamNotice =
  /**
   * Events that the reader misses: numbers `from` to `to`. They were `overwritten` by newer ones; or the VMM `restarted` since the event
   * `after`, so that further events of its earlier run may be missing.
   */
  | {
      readonly source: 'vmm';
      readonly event: 'gap';
      readonly properties: {
        readonly reason: 'overwritten' | 'restarted';
        readonly after?: string;
        readonly from?: string;
        readonly to?: string;
      };
    }
  /** the reader was too slow: the stream ends */
  | {
      readonly source: 'vmm';
      readonly event: 'reader-dropped';
      readonly properties: { readonly reason: string };
    };

/** Time since the start of the VMM. */
export interface EventTime {
  readonly secs: number;
  readonly nanos: number;
}

/** Schema of an event in the document. */
export const VMM_EVENT: DocumentFragment = {
  type: 'object',
  description: 'An event of the VMM or its VM, as the event monitor writes it',
  required: ['timestamp', 'source', 'event', 'properties'],
  properties: {
    timestamp: {
      type: 'object',
      description: 'Time since the start of the VMM',
      required: ['secs', 'nanos'],
      properties: {
        secs: { type: 'integer', format: 'int64', minimum: 0, maximum: 2 ** 32 },
        nanos: { type: 'integer', format: 'int32', minimum: 0, maximum: 999_999_999 },
      },
    },
    source: { type: 'string', enum: ['vmm', 'vm', 'guest', 'virtio-device'] },
    event: { type: 'string', description: 'Name, e.g. `booted`', pattern: '^[a-z-]{1,32}$' },
    properties: {
      type: 'object',
      nullable: true,
      additionalProperties: { type: 'string', pattern: '^[^\\x00]*$', maxLength: 2 ** 20 },
    },
  },
};
