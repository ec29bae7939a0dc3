import * as v from 'valibot';
import { action, query } from '../command.ts';

const MigrationInfo = v.object({
  /** QEMU's MigrationStatus, e.g. `active`; absent before the first migration */
  status: v.optional(v.string()),
  'error-desc': v.optional(v.string()),
  /** reasons why the machine cannot be migrated; absent if it can */
  'blocked-reasons': v.optional(v.array(v.string())),
  /** absent before RAM is sent; in `bytes` */
  ram: v.optional(v.object({ remaining: v.number(), total: v.number() })),
});

interface Capability {
  readonly capability: 'events' | 'return-path' | 'pause-before-switchover';
  readonly state: boolean;
}

/** Live migration, and the state of the devices alone. */
export const migrationCommands = {
  migrate: action<{ readonly uri: string }>(),
  'migrate-incoming': action<{ readonly uri: string }>(),
  migrate_cancel: action(),
  /** Continues a migration that waits before its switchover. */
  'migrate-continue': action<{ readonly state: 'pre-switchover' }>(),
  'migrate-set-capabilities': action<{ readonly capabilities: readonly Capability[] }>(),
  /** `max-bandwidth` in `bytes` a second; 0: no limit */
  'migrate-set-parameters': action<{ readonly 'max-bandwidth': number }>(),
  'query-migrate': query(MigrationInfo),
  /** Writes the state of all devices without the RAM. */
  'xen-save-devices-state': action<{ readonly filename: string; readonly live: boolean }>(),
};
