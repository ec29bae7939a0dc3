import type { Shell } from '../tests/support/shell.ts';
import { printRow } from './table.ts';

/*
 * Trace of the driver in the guest while a program receives: its packets, its reports of credit (CREDIT_UPDATE), and the time of its worker,
 * its reader and idling. Tracing costs the guest time: shares count, not throughput.
 */

const TRACING = '/sys/kernel/tracing';

/** From which report of credit on the window counts as used up, in `bytes`: less than a read of 64 KiB was left of 256 KiB. */
const USED_UP = 196_609;

/** Prints a value for each name; times in `us`. A line is `comm-pid [cpu] flags time: event: ...`. */
const SUMMARY = `
function since(from) { return int((now - from) * 1e6) }
match($0, / [0-9]+[.][0-9]+: /) { now = substr($0, RSTART + 1, RLENGTH - 3) + 0 }
/virtio_transport_recv_pkt/ && /op=RW/ {
  if (!first) first = last = now
  match($0, / len=[0-9]+/); n = substr($0, RSTART + 5, RLENGTH - 5)
  packets++; bytes += n; got += n; end = now
  if (reported) { waits += since(reported); reported = 0 }
  for (who in later) { time[who] += later[who]; later[who] = 0 }
}
/op=CREDIT_UPDATE/ && first {
  updates++
  if (got >= ${USED_UP}) { full++; inFull += got; reported = now }
  got = 0
}
/sched_switch/ && first {
  # counts where data follows
  later[/prev_comm=swapper/ ? "idle" : /prev_comm=kworker/ ? "worker" : "reader"] += since(last); last = now
}
END {
  print "packets", packets; print "bytes", bytes; print "updates", updates; print "full", full; print "inFull", inFull
  print "waits", waits; print "all", int((end - first) * 1e6)
  for (who in time) print who, time[who]
}
`;

/** Traces the guest while `work` runs, and prints a summary. */
export async function traceDriver(shell: Shell, work: () => Promise<unknown>): Promise<void> {
  const events = ['vsock', 'sched/sched_switch'];
  const set = (on: 0 | 1): string =>
    events.map((event) => `echo ${on} >${TRACING}/events/${event}/enable`).join('; ');
  await shell.run(`mount -t tracefs none ${TRACING}; echo 16384 >${TRACING}/buffer_size_kb; ${set(1)}`);
  await work();
  await shell.run(
    `${set(0)}; echo '${Buffer.from(SUMMARY).toString('base64')}' | base64 -d >/tmp/summary.awk`,
  );
  const shown = await shell.run(`awk -f /tmp/summary.awk ${TRACING}/trace`, 60_000);
  const values = new Map(
    [...shown.matchAll(/^(\w+) (\d+)$/gm)].map(([, name = '', value]) => [name, Number(value)]),
  );
  const valueOf = (name: string): number => values.get(name) ?? 0;
  const percent = (name: string, of: string): string =>
    `${((100 * valueOf(name)) / valueOf(of)).toFixed(0)} %`;
  const rows: readonly (readonly [string, string])[] = [
    ['packets', `${valueOf('packets')}`],
    ['reports of credit', `${valueOf('updates')}`],
    ['reports after 192 KiB or more', `${valueOf('full')}`],
    ['data before such reports', percent('inFull', 'bytes')],
    ['time from such a report to data', percent('waits', 'all')],
    ['time of the worker', percent('worker', 'all')],
    ['time of the reader', percent('reader', 'all')],
    ['time idle', percent('idle', 'all')],
  ];
  for (const [what, ours] of rows) printRow({ what: `vsock: trace: ${what}`, ours });
}
