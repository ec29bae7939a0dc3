import * as v from 'valibot';
import { action, query, queryWith } from '../command.ts';

const Status = v.object({
  /** QEMU's RunState, e.g. `running`, `paused`, `finish-migrate` */
  status: v.string(),
});

const DumpStatus = v.object({
  status: v.string(),
  /** in `bytes` */
  completed: v.number(),
  total: v.number(),
});

/** QEMU itself, its monitor and the machine as a whole. */
export const machineCommands = {
  qmp_capabilities: action(),
  /** Passes a file descriptor; the command that uses it names it by `fdname`. */
  getfd: action<{ readonly fdname: string }>(),
  /** Passes a file descriptor that QEMU opens again as `/dev/fdset/<fdset-id>`. */
  'add-fd': action<{ readonly 'fdset-id': number }>(),
  'remove-fd': action<{ readonly 'fdset-id': number }>(),
  /** Runs a command of the human monitor, for data that no QMP command returns. The reply is text. */
  'human-monitor-command': queryWith<
    { readonly 'command-line': string; readonly 'cpu-index'?: number },
    string
  >(v.string()),
  'trace-event-set-state': action<{ readonly name: string; readonly enable: boolean }>(),

  'query-status': query(Status),
  'set-action': action<{ readonly panic: 'pause' | 'none' }>(),
  cont: action(),
  stop: action(),
  quit: action(),
  system_powerdown: action(),
  'inject-nmi': action(),

  /** Writes the guest's RAM into a file; with `detach` it returns at once, and `DUMP_COMPLETED` follows. */
  'dump-guest-memory': action<{
    readonly paging: boolean;
    readonly protocol: string;
    readonly detach: boolean;
  }>(),
  'query-dump': query(DumpStatus),
};
