import { setTimeout as delay } from 'node:timers/promises';
import { qemuIdOf } from '../../plan/placement.ts';
import { createLimiter } from '../../util/rate-limit.ts';
import { createLog } from '../../util/log.ts';
import { reasonOf } from '../../util/errno.ts';
import type { OnVmEvent, VmEvent } from '../events.ts';
import type { Machine } from '../machine.ts';

const log = createLog('event');

/** QEMU's name for a driver's having written a virtio device's status. */
const STATUS_WRITTEN = 'virtio_set_status';

/** How many looks at all devices are worth it, and lines of trace: a boot with all slots full takes fewer. */
const MOST_LOOKS = { most: 100, intervalMs: 1000 };
const MOST_LINES = { most: 2000, intervalMs: 1000 };

/** How long nothing is traced then, in milliseconds. */
const REST_MS = 1000;

/** What is told of the guest's drivers. */
export interface DriverWatch {
  /** Settles once the devices that had a driver from the start are told of. */
  readonly told: Promise<void>;
  /** The guest has let a device go: its driver did before, whether that was seen or not. */
  readonly gone: (id: string) => void;
}

/**
 * Tells when the guest's drivers take virtio devices and let them go. QEMU has no event for it: its trace of status writes
 * says that there is something to look at, and what is seen then counts. What is undone before it is seen is not told.
 */
export function watchDrivers(machine: Machine, emit: OnVmEvent): DriverWatch {
  const active = new Set<string>();
  const looks = createLimiter(MOST_LOOKS);
  const lines = createLimiter(MOST_LINES);
  let looking = false;
  let again = false;
  const look = async (): Promise<void> => {
    again = true;
    if (looking) return;
    looking = true;
    while (again) {
      again = false;
      if (!looks.take()) await delay(looks.remaining(), undefined, { ref: false });
      await compare(machine, active, emit);
    }
    looking = false;
  };
  machine.qemu.onTrace((line) => {
    if (!line.startsWith(STATUS_WRITTEN)) return;
    if (!lines.take()) void rest();
    else void look();
  });
  let resting = false;
  // a guest that writes a status without end: it is looked at again when some time has passed
  const rest = async (): Promise<void> => {
    if (resting) return;
    resting = true;
    try {
      await traceStatus(machine, false);
      await delay(REST_MS, undefined, { ref: false });
      await traceStatus(machine, true);
    } catch (error) {
      log.debug(`the machine has ended: ${reasonOf(error)}`);
    }
    resting = false;
    await look();
  };
  const told = traceStatus(machine, true).then(look, (error: unknown) => {
    log.warn(`what the guest's drivers do is not told: ${reasonOf(error)}`);
  });
  return {
    told,
    gone: (id) => {
      if (active.delete(id)) emit(driverEvent(id, false));
    },
  };
}

async function traceStatus({ qemu }: Machine, enable: boolean): Promise<void> {
  await qemu.qmp.execute('trace-event-set-state', { name: STATUS_WRITTEN, enable });
}

function driverEvent(id: string, isActive: boolean): VmEvent {
  return { source: 'virtio-device', event: isActive ? 'activated' : 'reset', properties: { id } };
}

async function compare(machine: Machine, active: Set<string>, emit: OnVmEvent): Promise<void> {
  // the layout can change meanwhile
  for (const placement of [...machine.layout.placements]) {
    const { id } = placement;
    const own = qemuIdOf(placement);
    const is = machine.hidden.has(own) ? undefined : await hasDriver(machine, own);
    if (is === undefined || is === active.has(id)) continue;
    if (is) active.add(id);
    else active.delete(id);
    emit(driverEvent(id, is));
  }
}

/** undefined: no virtio device, or gone */
async function hasDriver({ qemu }: Machine, qemuId: string): Promise<boolean | undefined> {
  const path = `/machine/peripheral/${qemuId}/virtio-backend`;
  const answer = await qemu.qmp.execute('x-query-virtio-status', { path }).catch(() => undefined);
  return answer?.status.statuses.some((one) => one.startsWith('VIRTIO_CONFIG_S_DRIVER_OK'));
}
