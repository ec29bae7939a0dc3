import type { LifecycleEvent, VmEvent } from '../api/events.ts';
import type { OperationInfo } from '../api/operations.ts';
import { dialectOf } from '../config/dialect.ts';
import type { VmConfig } from '../config/vm-config.ts';
import { bdfOf, qemuIdOf, type Placement } from '../plan/placement.ts';
import type { QmpEvent } from '../qemu/qmp/events.ts';
import { createLog } from '../util/log.ts';

const log = createLog('event');

export type { LifecycleEvent, VmEvent } from '../api/events.ts';

/** Called with each event, in order. */
export type OnVmEvent = (event: VmEvent) => void;

/** Returns a lifecycle event. */
export function lifecycleEvent(event: LifecycleEvent): VmEvent {
  return { source: 'vm', event };
}

/** Returns the event of an operation of a client. */
export function operationEvent({ id, kind, state, progress }: OperationInfo): VmEvent {
  const { phase, done, total } = progress ?? {};
  const properties = {
    ...{ id, kind, state },
    ...(phase !== undefined && { phase }),
    ...(done !== undefined && { done: String(done) }),
    ...(total !== undefined && { total: String(total) }),
  };
  return { source: 'vmm', event: 'operation', properties };
}

/** Emits `restoring` at the moment at which the configuration's dialect does: before the devices are `activated`, or after. */
export function emitRestoring(
  emit: OnVmEvent,
  config: VmConfig,
  moment: 'before activated' | 'after activated',
): void {
  const isAfter = moment === 'after activated';
  if (dialectOf(config).emitsActivatedFirst === isAfter) emit(lifecycleEvent('restoring'));
}

/** Returns the event `device-removed` of a device that the guest has released. */
export function deviceRemoved({ id, slot }: Placement): VmEvent {
  return { source: 'vm', event: 'device-removed', properties: { id, bdf: bdfOf(slot ?? 0) } };
}

/** Returns the VM's event for an event of QEMU; undefined if there is none. */
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

/** Returns the id of the disk at a path in QEMU's object tree, `/machine/peripheral/<id>/virtio-backend`. */
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
