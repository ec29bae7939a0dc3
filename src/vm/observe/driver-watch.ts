import { setTimeout as delay } from 'node:timers/promises';
import { qemuIdOf } from '../../plan/placement.ts';
import { createLimiter } from '../../util/rate-limit.ts';
import { createLog } from '../../util/log.ts';
import { reasonOf } from '../../util/errno.ts';
import type { OnVmEvent, VmEvent } from '../events.ts';
import type { Machine } from '../machine.ts';

const log = createLog('event');

/** QEMU's trace event: a driver has written the status of a virtio device. */
const STATUS_WRITTEN = 'virtio_set_status';

/** Limits of device queries and of trace lines: a boot with all slots in use stays below them. */
const MOST_QUERIES = { most: 100, intervalMs: 1000 };
const MOST_LINES = { most: 2000, intervalMs: 1000 };

/** Pause of the trace after too many lines, in milliseconds. */
const PAUSE_MS = 1000;

/** Watch of the guest's drivers. */
export interface DriverWatch {
  /** Resolves once `activated` is emitted for the devices that had a driver from the start; never rejects. */
  readonly started: Promise<void>;
  /** Emits `reset` for a device that the guest has ejected, unless it was already emitted. */
  readonly detached: (id: string) => void;
}

/**
 * Emits `activated` and `reset` when the guest's drivers activate and reset virtio devices. QEMU has no event for it. After each status
 * write in its trace all devices are queried, and each change since the last query is an event. A change that is undone before the
 * query causes no event. `known`: devices with a driver for which the former QEMU of the machine has emitted the event.
 */
export function watchDrivers(machine: Machine, emit: OnVmEvent, known?: ReadonlySet<string>): DriverWatch {
  const active = new Set<string>(known);
  machine.activeDrivers = active;
  const query = createQuery(() => compare(machine, active, emit));
  const lines = createLimiter(MOST_LINES);
  let isPaused = false;
  // for a guest that writes the status in a loop
  const pauseTrace = async (): Promise<void> => {
    if (isPaused) return;
    isPaused = true;
    try {
      await traceStatus(machine, false);
      await delay(PAUSE_MS, undefined, { ref: false });
      await traceStatus(machine, true);
    } finally {
      isPaused = false;
    }
    await query();
  };
  machine.qemu.onTrace((line) => {
    if (!line.startsWith(STATUS_WRITTEN)) return;
    const work = lines.take() ? query() : pauseTrace();
    work.catch((error: unknown) => log.debug(`drivers are not queried: ${reasonOf(error)}`));
  });
  const started = traceStatus(machine, true)
    .then(query)
    .catch((error: unknown) =>
      log.warn(`activations of the guest's drivers are not recorded: ${reasonOf(error)}`),
    );
  return {
    started,
    detached: (id) => {
      if (active.delete(id)) emit(driverEvent(id, false));
    },
  };
}

/** Returns a function that runs `compareAll`: one run at a time, and one more run if it is called meanwhile. */
function createQuery(compareAll: () => Promise<void>): () => Promise<void> {
  const queries = createLimiter(MOST_QUERIES);
  let isRunning = false;
  let isWanted = false;
  return async () => {
    isWanted = true;
    if (isRunning) return;
    isRunning = true;
    try {
      while (isWanted) {
        isWanted = false;
        if (!queries.take()) await delay(queries.remaining(), undefined, { ref: false });
        await compareAll();
      }
    } finally {
      isRunning = false;
    }
  };
}

async function traceStatus({ qemu }: Machine, enable: boolean): Promise<void> {
  await qemu.qmp.execute('trace-event-set-state', { name: STATUS_WRITTEN, enable });
}

function driverEvent(id: string, isActive: boolean): VmEvent {
  return { source: 'virtio-device', event: isActive ? 'activated' : 'reset', properties: { id } };
}

async function compare(machine: Machine, active: Set<string>, emit: OnVmEvent): Promise<void> {
  // the layout may change during the queries
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

/** Returns true if a driver has activated a device; undefined if it is no virtio device, or is detached. */
async function hasDriver({ qemu }: Machine, qemuId: string): Promise<boolean | undefined> {
  const path = `/machine/peripheral/${qemuId}/virtio-backend`;
  const answer = await qemu.qmp.execute('x-query-virtio-status', { path }).catch(() => undefined);
  return answer?.status.statuses.some((one) => one.startsWith('VIRTIO_CONFIG_S_DRIVER_OK'));
}
