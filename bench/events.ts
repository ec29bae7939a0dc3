// Events over the API: memory of the VMM, and latency of vmm.ping, with 50 readers of which one does not read.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { guestConfig } from '../tests/support/guest.ts';
import { startVmm, type TestVmm } from '../tests/support/vmm.ts';
import { until } from '../tests/support/wait.ts';
import { printRow } from './table.ts';

const READERS = 50;
const PING_INTERVAL_MS = 5;

interface Figures {
  /** latencies of vmm.ping in milliseconds */
  readonly pings: readonly number[];
  /** largest memory of the VMM in bytes */
  readonly rss: number;
}

/** `npm run bench -- events [count]` */
export async function benchEvents([text = '10000']: readonly string[]): Promise<void> {
  const count = Number(text);
  await using vmm = await startVmm();
  // the first rounds warm up the compiler
  await makeEvents(vmm, count / 4);
  const alone = await makeEvents(vmm, count);
  // in a thread of their own, so that their work does not delay the client that is measured
  const counts = Array.from({ length: READERS - 1 }, () => new Int32Array(new SharedArrayBuffer(4)));
  const readers = new Worker(new URL('./event-readers.js', import.meta.url), {
    workerData: { socket: vmm.socket, counts },
  });
  await once(readers, 'message');
  const watched = await makeEvents(vmm, count);
  await until('all events are read', () => counts.every((one) => Atomics.load(one, 0) >= count));
  const lost = counts.filter((one) => one[0] !== count).length;
  await readers.terminate();
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  printRow({
    what: `events: RSS, ${READERS} readers, ${count} events`,
    ours: mib(watched.rss),
    reference: ['no reader', mib(alone.rss)],
    must: '<= +20',
    note: `${mib(watched.rss - alone.rss)} more; ${lost} of ${counts.length} readers lost an event`,
  });
  for (const [name, part] of [
    ['median', 0.5],
    ['p99', 0.99],
  ] as const) {
    const [ours, reference] = [watched, alone].map(({ pings }) => quantile(pings, part));
    if (ours === undefined || reference === undefined) continue;
    printRow({
      what: `events: vmm.ping meanwhile, ${name}`,
      ours: `${ours.toFixed(2)} ms`,
      reference: ['no reader', `${reference.toFixed(2)} ms`],
      ratio: ours / reference,
    });
  }
}

/** Makes events without a guest, and measures vmm.ping at the same time. */
async function makeEvents(vmm: TestVmm, count: number): Promise<Figures> {
  const pings: number[] = [];
  let rss = 0;
  const done = new AbortController();
  const config = guestConfig();
  const make = async (): Promise<void> => {
    for (let i = 0; i < count; i++) {
      await vmm.put('vm.create', config);
      await vmm.put('vm.delete');
    }
    done.abort();
  };
  const ping = async (): Promise<void> => {
    while (!done.signal.aborted) {
      await delay(PING_INTERVAL_MS);
      const start = performance.now();
      await vmm.get('vmm.ping');
      pings.push(performance.now() - start);
      rss = Math.max(rss, rssOf(vmm.pid));
    }
  };
  await Promise.all([make(), ping()]);
  return { pings, rss };
}

function rssOf(pid: number): number {
  const [, kib = ''] = /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) * 1024;
}

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN;
}
