import { qemuIdOf, bdfOf, type Placement } from '../plan/placement.ts';
import type { QmpEvent } from '../qemu/qmp/events.ts';
import { createLog } from '../util/log.ts';

const log = createLog('event');

/** Turns in the life of a VM, in Cloud Hypervisor's words. */
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

/** Something that happened to the VMM or its VM, as the event monitor records it. */
export type VmEvent =
  | { readonly source: 'vmm'; readonly event: 'starting' | 'shutdown' }
  | { readonly source: 'vm'; readonly event: LifecycleEvent }
  /** the guest's driver has taken a device, or let it go */
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
  /** QEMU has ended unexpectedly, or no new machine could be started: `shutdown` follows where one ran */
  | { readonly source: 'vm'; readonly event: 'crashed'; readonly properties: { readonly reason: string } }
  /** the guest stopped feeding the watchdog: a reset follows */
  | { readonly source: 'vm'; readonly event: 'watchdog' }
  /** the guest's kernel says so, by its pvpanic device */
  | {
      readonly source: 'guest';
      readonly event: 'panic';
      readonly properties: { readonly event: 'panic' | 'crash_loaded' };
    }
  /** so many events of a kind came too fast for the record; `id` of the device where they are one's */
  | {
      readonly source: 'vm' | 'virtio-device' | 'guest';
      readonly event: 'dropped';
      readonly properties: { readonly event: string; readonly id?: string; readonly count: string };
    }
  /** the host could not read or write for a disk; the guest was told */
  | {
      readonly source: 'virtio-device';
      readonly event: 'block-io-error';
      readonly properties: { readonly id: string; readonly operation: string };
    };

/** Called with each event, in order. */
export type OnVmEvent = (event: VmEvent) => void;

/** An event of the VM itself that says nothing more. */
export function lifecycleEvent(event: LifecycleEvent): VmEvent {
  return { source: 'vm', event };
}

/** A device that has gone. */
export function deviceRemoved({ id, slot }: Placement): VmEvent {
  return { source: 'vm', event: 'device-removed', properties: { id, bdf: bdfOf(slot ?? 0) } };
}

/** An engine's message as an event of the VM, where it is one. */
export function vmEventOf(message: QmpEvent, placements: readonly Placement[]): VmEvent | undefined {
  switch (message.event) {
    case 'WATCHDOG':
      return { source: 'vm', event: 'watchdog' };
    case 'GUEST_PANICKED':
      return { source: 'guest', event: 'panic', properties: { event: 'panic' } };
    case 'GUEST_CRASHLOADED':
      return { source: 'guest', event: 'panic', properties: { event: 'crash_loaded' } };
    case 'BLOCK_IO_ERROR': {
      const { 'qom-path': path, operation } = message.data;
      const properties = { id: ownerOf(path, placements), operation };
      return { source: 'virtio-device', event: 'block-io-error', properties };
    }
    default:
      return undefined;
  }
}

/** The engine names a disk by its place in the object tree, `/machine/peripheral/<id>/virtio-backend`. */
function ownerOf(path: string, placements: readonly Placement[]): string {
  const name = path.split('/')[3] ?? '';
  return placements.find((one) => qemuIdOf(one) === name)?.id ?? name;
}

const TROUBLE: Readonly<Partial<Record<VmEvent['event'], string>>> = {
  watchdog: 'the guest no longer feeds it: the VM is reset',
  panic: 'the guest’s kernel has panicked',
  'block-io-error': 'the host could not read or write for a disk',
  dropped: 'the guest caused more events than are recorded',
};

/** Records an event in the log. */
export function logVmEvent(event: VmEvent): void {
  const properties = 'properties' in event ? Object.entries(event.properties) : [];
  const details = properties.map(([name, value]) => ` ${name}=${value}`).join('');
  const trouble = TROUBLE[event.event];
  if (trouble === undefined) log.info(`${event.source} ${event.event}${details}`);
  else log.warn(`${event.event}: ${trouble}${details}`);
}
