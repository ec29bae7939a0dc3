import type { Shell } from '../tests/support/shell.ts';
import { medianOf } from './pairs.ts';
import { printRow } from './table.ts';

/*
 * Trace of the driver in the guest while a program receives: its packets, its reports of credit (CREDIT_UPDATE), the reads and sleeps of
 * the program, and the time of its worker, its reader and idling. Tracing costs the guest time: shares and counts matter, not
 * throughput.
 */

const TRACING = '/sys/kernel/tracing';
const EVENTS = ['vsock', 'sched/sched_switch', 'syscalls/sys_exit_read'];

/** From which report of credit on the window counts as used up, in `bytes`: less than a read of 64 KiB was left of 256 KiB. */
const USED_UP = 196_609;

/** Bytes of the packet that the driver's worker has traced and holds until the read ends: it does not count as unread. */
const HELD = 4096;

/**
 * Prints a value for each name; times in `us`. A line is `comm-pid [cpu] flags time: event: ...`. The report is part of a read, so the
 * end of that read shows how much was unread.
 */
const SUMMARY = `
function since(from) { return int((now - from) * 1e6) }
function hex(digits,  value, i) {
  for (i = 1; i <= length(digits); i++) value = value * 16 + index("123456789abcdef", substr(digits, i, 1))
  return value
}
match($0, / [0-9]+[.][0-9]+: /) { now = substr($0, RSTART + 1, RLENGTH - 3) + 0 }
/virtio_transport_recv_pkt/ && /op=RW/ {
  if (!first) first = last = now
  match($0, / len=[0-9]+/); n = substr($0, RSTART + 5, RLENGTH - 5)
  packets++; bytes += n; got += n; end = now
  if (reported && idle) print "idle", idle
  reported = idle = 0
  for (who in later) { time[who] += later[who]; later[who] = 0 }
  sleeps += slept; slept = 0
}
/op=CREDIT_UPDATE/ && first {
  updates++
  if (got >= ${USED_UP}) { full++; inFull += got }
  got = 0; reported = 1; idle = 0; received = bytes; inRead = 1
}
/ perl-/ && /sys_read -> 0x/ && first {
  match($0, /0x[0-9a-f]+/); consumed += hex(substr($0, RSTART + 2, RLENGTH - 2))
  if (inRead) print "unread", received - consumed
  inRead = 0
}
/sched_switch/ && first {
  # counts where data follows
  later[/prev_comm=swapper/ ? "halted" : /prev_comm=kworker/ ? "worker" : "reader"] += since(last)
  if (/prev_comm=swapper/) idle += since(last)
  if (/prev_comm=perl/ && /prev_state=S/) slept++
  last = now
}
END {
  print "packets", packets; print "bytes", bytes; print "updates", updates; print "full", full; print "inFull", inFull
  print "sleeps", sleeps; print "all", int((end - first) * 1e6)
  for (who in time) print who, time[who]
}
`;

/** Traces the guest while `work` runs, and prints a summary. */
export async function traceDriver(shell: Shell, name: string, work: () => Promise<unknown>): Promise<void> {
  const set = (on: 0 | 1): string =>
    EVENTS.map((event) => `echo ${on} >${TRACING}/events/${event}/enable`).join('; ');
  await shell.run(`mountpoint -q ${TRACING} || mount -t tracefs none ${TRACING}`);
  await shell.run(`echo 16384 >${TRACING}/buffer_size_kb; echo >${TRACING}/trace; ${set(1)}`);
  await work();
  await shell.run(
    `${set(0)}; echo '${Buffer.from(SUMMARY).toString('base64')}' | base64 -d >/tmp/summary.awk`,
  );
  printSummary(name, await shell.run(`awk -f /tmp/summary.awk ${TRACING}/trace`, 60_000));
}

function printSummary(name: string, shown: string): void {
  const lines = [...shown.matchAll(/^(\w+) (-?\d+)$/gm)].map(
    ([, key = '', value]) => [key, Number(value)] as const,
  );
  const valuesOf = (key: string): number[] => lines.filter(([one]) => one === key).map(([, value]) => value);
  const valueOf = (key: string): number => valuesOf(key)[0] ?? 0;
  const percent = (key: string, of: string): string => `${((100 * valueOf(key)) / valueOf(of)).toFixed(0)} %`;
  const [idle, unread] = [valuesOf('idle'), valuesOf('unread').filter((bytes) => bytes > HELD)];
  const rows: readonly (readonly [string, string])[] = [
    ['packets', `${valueOf('packets')}`],
    ['reports of credit', `${valueOf('updates')}`],
    ['reports after 192 KiB or more', `${valueOf('full')}, ${percent('inFull', 'bytes')} of the data`],
    ['reports with unread data', `${unread.length}`],
    ['sleeps of the reader', `${valueOf('sleeps')}`],
    ['idle from report to data', idle.length === 0 ? 'never' : idleTimes(idle)],
    ['worker, reader, idle', ['worker', 'reader', 'halted'].map((who) => percent(who, 'all')).join(', ')],
  ];
  for (const [what, ours] of rows) printRow({ what: `vsock: ${name}: ${what}`, ours });
}

function idleTimes(all: readonly number[]): string {
  return `${all.length} times, least ${Math.min(...all)} us, median ${medianOf(all)} us`;
}
