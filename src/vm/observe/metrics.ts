import { Counter, Gauge, Histogram, Registry, type CollectFunction } from 'prom-client';
import type { OnRequest } from '../../api/observed.ts';
import type { VmCounters } from '../../api/replies.ts';
import { watchStalls } from '../../host/system/event-loop-stalls.ts';
import { processUsage } from '../../host/system/process-usage.ts';
import { countersOfVm } from './counters.ts';
import type { VmEvent } from '../events.ts';
import { vmInfo } from './info.ts';
import type { Vm } from '../vm.ts';

/** Metrics of a VMM in Prometheus' text format. */
export interface Metrics {
  readonly contentType: string;
  /** Returns all metrics. */
  readonly text: () => Promise<string>;
  readonly onRequest: OnRequest;
  readonly onEvent: (event: VmEvent) => void;
}

const STATES = ['none', 'Created', 'Running', 'Paused', 'Shutdown'] as const;

/** Bounds for latencies of requests, from vm.info to a boot, in `seconds`. */
const BUCKETS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30];

/** Bounds for stalls of the event loop, in `seconds`. */
const STALL_BUCKETS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5];

/** Counters of devices, by the names of vm.counters. */
const DEVICE_COUNTERS = {
  ...{ read_bytes: 'Bytes read', write_bytes: 'Bytes written' },
  ...{ read_ops: 'Read requests', write_ops: 'Write requests', requests: 'Requests of all kinds' },
  ...{ rx_bytes: 'Bytes to the guest', tx_bytes: 'Bytes from the guest' },
  ...{ rx_frames: 'Frames to the guest', tx_frames: 'Frames from the guest' },
} as const;

/** Starts the metrics; `currentVm` returns the VM at the time of a scrape. */
export function createMetrics(version: string, currentVm: () => Vm | undefined): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const gauge = <L extends string>(
    name: string,
    help: string,
    labelNames: L[],
    collect?: CollectFunction<Gauge<L>>,
  ) => new Gauge({ name: `nephos_${name}`, help, labelNames, registers, ...(collect && { collect }) });
  gauge('vmm_info', 'The version of this VMM', ['version']).set({ version }, 1);
  const requests = new Histogram({
    name: 'nephos_api_request_duration_seconds',
    help: 'Time from a whole request to its answer, by endpoint and outcome (ok, or the kind of error)',
    labelNames: ['endpoint', 'outcome'],
    buckets: BUCKETS,
    registers,
  });
  const events = new Counter({
    name: 'nephos_events_total',
    help: 'Events, as the event monitor has them',
    labelNames: ['source', 'event'],
    registers,
  });
  const stalls = new Histogram({
    name: 'nephos_event_loop_stall_seconds',
    help: 'Delays of the event loop by one task, sampled every 20 ms; without the time in which it had no processor',
    buckets: STALL_BUCKETS,
    registers,
  });
  watchStalls((seconds) => stalls.observe(seconds));
  addVm(gauge, currentVm);
  addDevices(registry, currentVm);
  addProcesses(registry, gauge, currentVm);
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    onRequest: (endpoint, seconds, outcome) => requests.observe({ endpoint, outcome }, seconds),
    onEvent: ({ source, event }) => events.inc({ source, event }),
  };
}

type AddGauge = <L extends string>(
  name: string,
  help: string,
  labelNames: L[],
  collect?: CollectFunction<Gauge<L>>,
) => Gauge<L>;

function addVm(gauge: AddGauge, currentVm: () => Vm | undefined): void {
  gauge('vm_state', 'The state of the VM: 1 for the one it is in', ['state'], function () {
    const now = currentVm()?.state ?? 'none';
    for (const state of STATES) this.set({ state }, state === now ? 1 : 0);
  });
  gauge('vm_vcpus', 'vCPUs: those that the guest has, and how many it can have', ['kind'], function () {
    const cpus = currentVm()?.config.cpus;
    this.set({ kind: 'current' }, cpus?.boot_vcpus ?? 0);
    this.set({ kind: 'max' }, cpus?.max_vcpus ?? 0);
  });
  gauge('vm_memory_bytes', 'RAM of the guest, without what its balloon holds', [], async function () {
    const vm = currentVm();
    this.set(vm === undefined ? 0 : ((await vmInfo(vm)).memory_actual_size ?? 0));
  });
}

function addDevices(registry: Registry, currentVm: () => Vm | undefined): void {
  // one answer of QEMU for all counters, because Prometheus reads them at the same time
  let asked: Promise<VmCounters> | undefined;
  const ask = (): Promise<VmCounters> =>
    (asked ??= readAll(currentVm()).finally(() => {
      asked = undefined;
    }));
  for (const [name, help] of Object.entries(DEVICE_COUNTERS)) {
    const counter = new Counter({
      name: `nephos_device_${name}_total`,
      help: `${help}, by device; starts again with each boot`,
      labelNames: ['device'],
      registers: [],
      collect: async function () {
        const all = await ask();
        this.reset();
        for (const [device, counters] of Object.entries(all)) {
          const value = counters[name];
          if (value !== undefined) this.inc({ device }, value);
        }
      },
    });
    registry.registerMetric(counter);
  }
}

async function readAll(vm: Vm | undefined): Promise<VmCounters> {
  return vm === undefined ? {} : countersOfVm(vm);
}

function addProcesses(registry: Registry, gauge: AddGauge, currentVm: () => Vm | undefined): void {
  const usages = async () => {
    const qemu = currentVm()?.booted?.machine.qemu.pid;
    return {
      vmm: await processUsage(process.pid),
      // the value of the label `process` is part of the metrics' interface
      engine: qemu === undefined ? undefined : await processUsage(qemu),
    };
  };
  gauge('process_resident_memory_bytes', 'Memory of the VMM and of QEMU', ['process'], async function () {
    this.reset();
    for (const [process, usage] of Object.entries(await usages())) {
      if (usage !== undefined) this.set({ process }, usage.residentBytes);
    }
  });
  const seconds = new Counter({
    name: 'nephos_process_cpu_seconds_total',
    help: 'Processor time of the VMM and of QEMU',
    labelNames: ['process'],
    registers: [],
    collect: async function () {
      const all = await usages();
      this.reset();
      for (const [process, usage] of Object.entries(all))
        if (usage !== undefined) this.inc({ process }, usage.cpuSeconds);
    },
  });
  registry.registerMetric(seconds);
}
