import { asRecord, type Json } from './json.ts';

/** Figures of the VM at one moment. Counters grow from each boot on. */
export interface Sample {
  /** time since the start of the VMM, in ms */
  readonly timeMs: number;
  readonly cpuMs: number;
  /** resident memory of QEMU, in bytes */
  readonly memoryBytes: number;
  readonly diskBytes: Transfer;
  readonly netBytes: Transfer;
}

/** Bytes in both directions, seen from the guest. */
export interface Transfer {
  readonly in: number;
  readonly out: number;
}

/** Figures of the plots, per second where they are rates. */
export interface Figures {
  /** 100 is one CPU of the host */
  readonly cpuPercent: number;
  readonly memoryBytes: number;
  readonly disk: Transfer;
  readonly net: Transfer;
}

/** Reads the replies of vmm.usage and vm.counters. */
export function readSample(usage: Json, counters: Json): Sample {
  const { time_ms: time = 0, qemu = null } = asRecord(usage);
  const { cpu_ms: cpu = 0, resident_bytes: resident = 0 } = asRecord(qemu);
  const total = (name: string): number =>
    Object.values(asRecord(counters)).reduce<number>((sum, one) => sum + count(asRecord(one)[name]), 0);
  return {
    timeMs: count(time),
    cpuMs: count(cpu),
    memoryBytes: count(resident),
    diskBytes: { in: total('read_bytes'), out: total('write_bytes') },
    netBytes: { in: total('rx_bytes'), out: total('tx_bytes') },
  };
}

/** Returns the figures between two samples; zeros where counters began again. */
export function figuresBetween(before: Sample, after: Sample): Figures {
  const seconds = (after.timeMs - before.timeMs) / 1000;
  const rate = (from: number, to: number): number => (seconds <= 0 || to < from ? 0 : (to - from) / seconds);
  const transfer = (from: Transfer, to: Transfer): Transfer => ({
    in: rate(from.in, to.in),
    out: rate(from.out, to.out),
  });
  return {
    // milliseconds of CPU time per second, in percent
    cpuPercent: rate(before.cpuMs, after.cpuMs) / 10,
    memoryBytes: after.memoryBytes,
    disk: transfer(before.diskBytes, after.diskBytes),
    net: transfer(before.netBytes, after.netBytes),
  };
}

function count(value: Json | undefined): number {
  return typeof value === 'number' ? value : 0;
}
