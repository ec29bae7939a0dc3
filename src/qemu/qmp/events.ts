import * as v from 'valibot';
import { limitLog } from '../../util/rate-limit.ts';
import { createLog } from '../../util/log.ts';
import { misfit, ONE_ISSUE } from './command.ts';

const log = limitLog(createLog('qmp'), 'events that do not fit', { most: 10, intervalMs: 10_000 });

/** Every event that is used, with the used members of its data; names are those of QEMU's QAPI schema. */
const EVENTS = {
  /** The vCPUs are stopped. */
  STOP: v.object({}),
  /** The vCPUs run. */
  RESUME: v.object({}),
  /** `reason` is QEMU's ShutdownCause, e.g. `guest-reset`. */
  SHUTDOWN: v.object({ reason: v.string() }),
  /** The guest has ejected a device; `device` is absent if it has no id. */
  DEVICE_DELETED: v.object({ device: v.optional(v.string()) }),
  /** The guest's answer to an ACPI notification (_OST, ACPI 6.5, 6.3.5). */
  ACPI_DEVICE_OST: v.object({
    info: v.object({
      'slot-type': v.string(),
      slot: v.string(),
      source: v.number(),
      status: v.number(),
    }),
  }),
  GUEST_PANICKED: v.object({}),
  /** The guest's kernel panicked and has started its crash kernel. */
  GUEST_CRASHLOADED: v.object({}),
  WATCHDOG: v.object({}),
  /** `qom-path` is that of the guest's device. */
  BLOCK_IO_ERROR: v.object({ 'qom-path': v.string(), operation: v.string() }),
  /** `status` is QEMU's JobStatus. */
  JOB_STATUS_CHANGE: v.object({ id: v.string(), status: v.string() }),
  /** `status` is QEMU's MigrationStatus. */
  MIGRATION: v.object({ status: v.string() }),
  /** A pass over the RAM starts; the first has number 1. */
  MIGRATION_PASS: v.object({ pass: v.number() }),
  DUMP_COMPLETED: v.object({ result: v.object({ status: v.string() }), error: v.optional(v.string()) }),
};

type EventName = keyof typeof EVENTS;

type KnownEvent = {
  [Name in EventName]: {
    readonly event: Name;
    readonly data: Readonly<v.InferOutput<(typeof EVENTS)[Name]>>;
  };
}[EventName];

/** An asynchronous message of QEMU; `OTHER` is any that is not used. */
export type QmpEvent = KnownEvent | { readonly event: 'OTHER'; readonly name: string };

/** Checks an event. An event whose data does not fit is logged and passed as `OTHER`: no caller waits for it. */
export function decodeEvent(name: string, data: unknown): QmpEvent {
  if (!isKnown(name)) return { event: 'OTHER', name };
  const result = v.safeParse(EVENTS[name], data ?? {}, ONE_ISSUE);
  if (!result.success) {
    const [issue] = result.issues;
    log.warn(`event ${name} is ignored: ${v.getDotPath(issue) ?? 'data'}: ${misfit(issue)}`);
    return { event: 'OTHER', name };
  }
  // name and data are those of the same entry
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return { event: name, data: result.output } as KnownEvent;
}

function isKnown(name: string): name is EventName {
  return Object.hasOwn(EVENTS, name);
}
