import { createLimiter, OUTSIDE_LIMIT, type Limiter, type RateLimit } from '../util/rate-limit.ts';
import type { OnVmEvent, VmEvent } from './events.ts';

/** Events that a guest can cause at any rate. */
const BY_GUEST: ReadonlySet<VmEvent['event']> = new Set([
  'panic',
  'watchdog',
  'activated',
  'reset',
  'block-io-error',
]);

/** Events of one kind and one device. */
interface Kind {
  readonly source: 'vm' | 'virtio-device' | 'guest';
  readonly event: string;
  readonly id: string | undefined;
  readonly limiter: Limiter;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Limits the events that a guest can cause, separately for each kind and device. The number of dropped events is recorded when an
 * interval is over, and when the VM shuts down. All other events pass, in order.
 */
export function limitEvents(record: OnVmEvent, limit: RateLimit = OUTSIDE_LIMIT): OnVmEvent {
  const kinds = new Map<string, Kind>();
  const flush = (kind: Kind): void => {
    clearTimeout(kind.timer);
    kind.timer = undefined;
    const count = kind.limiter.takeDropped();
    if (count > 0) record(dropped(kind, count));
  };
  return (event) => {
    if (BY_GUEST.has(event.event)) {
      const kind = kindOf(kinds, event, limit);
      if (kind.limiter.take()) record(event);
      // rounded up: a timer may fire up to 1 ms early
      else kind.timer ??= setTimeout(() => flush(kind), Math.ceil(kind.limiter.remaining()) + 1).unref();
      return;
    }
    if (ENDS.has(event.event)) {
      for (const kind of kinds.values()) flush(kind);
      // after QEMU's exit there are no further events of its devices
      kinds.clear();
    }
    record(event);
  };
}

/** Events after which a machine has no further ones. */
const ENDS: ReadonlySet<VmEvent['event']> = new Set(['shutdown', 'deleted']);

function kindOf(kinds: Map<string, Kind>, event: VmEvent, limit: RateLimit): Kind {
  const id = 'properties' in event && 'id' in event.properties ? event.properties.id : undefined;
  const key = JSON.stringify([event.event, id]);
  const source = event.source === 'vmm' ? 'vm' : event.source;
  const known = kinds.get(key);
  const kind = known ?? { source, event: event.event, id, limiter: createLimiter(limit), timer: undefined };
  kinds.set(key, kind);
  return kind;
}

function dropped({ source, event, id }: Kind, count: number): VmEvent {
  return {
    source,
    event: 'dropped',
    properties: { event, ...(id !== undefined && { id }), count: String(count) },
  };
}
