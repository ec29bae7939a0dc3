import { setTimeout as delay } from 'node:timers/promises';
import type { CommandLine } from '../verb.ts';
import { columns, showJson, showSize } from '../text.ts';
import { createTrafficReader, type Traffic, type TrafficReader } from '../guest-traffic.ts';
import { measureVm, usageBetween, type VmUsage } from '../usage.ts';
import { readWord } from '../values.ts';
import { findRunningVm } from '../vms.ts';
import { listVms, type VmEntry } from '../../../run/vm-directory/vm-directories.ts';
import { stateOfVm } from '../../../run/vm-directory/vm-state.ts';

/** Interval between two measurements, in milliseconds. */
const INTERVAL_MS = 1000;
/** Interval of one measurement without stream: long enough for the clock ticks of the kernel. */
const ONCE_MS = 500;
/** Moves the cursor to the upper left corner, and erases the display. */
const CLEAR = '\u{1b}[H\u{1b}[2J';

/** Shows the use of CPU, memory, disks and networks. */
export async function run(line: CommandLine): Promise<number> {
  const format = readWord('format', line.value('format') ?? 'table', ['table', 'json']);
  const isOnce = line.has('no-stream');
  await using traffic = createTrafficReader();
  for (;;) {
    const usages = await measureAll(await vmsOf(line.operands), traffic, isOnce ? ONCE_MS : INTERVAL_MS);
    if (format === 'json') process.stdout.write(isOnce ? showJson(usages) : `${JSON.stringify(usages)}\n`);
    else process.stdout.write(`${!isOnce && process.stdout.isTTY ? CLEAR : ''}${showUsages(usages)}`);
    if (isOnce || process.stdout.destroyed) return 0;
  }
}

async function vmsOf(names: readonly string[]): Promise<VmEntry[]> {
  if (names.length === 0) return (await listVms()).filter(({ isOwned }) => isOwned);
  return Promise.all(names.map(findRunningVm));
}

async function measureAll(
  entries: readonly VmEntry[],
  traffic: TrafficReader,
  ms: number,
): Promise<VmUsage[]> {
  const before = await Promise.all(entries.map(measureVm));
  const [networks] = await Promise.all([
    Promise.all(entries.map((entry) => trafficOf(entry, traffic))),
    delay(ms),
  ]);
  const after = await Promise.all(entries.map(measureVm));
  return entries.flatMap(({ record }, at) => {
    const [first, second] = [before[at], after[at]];
    return first === undefined || second === undefined
      ? []
      : [withTraffic(usageBetween(record, first, second), networks[at])];
  });
}

/** Reads the traffic of a guest that runs and has user-mode networking. */
async function trafficOf(entry: VmEntry, traffic: TrafficReader): Promise<Traffic | undefined> {
  if (entry.record.request.network !== 'user' || (await stateOfVm(entry)) !== 'running') return undefined;
  return traffic.read(entry);
}

function withTraffic(usage: VmUsage, traffic: Traffic | undefined): VmUsage {
  return traffic === undefined ? usage : { ...usage, netReceived: traffic.received, netSent: traffic.sent };
}

function showUsages(usages: readonly VmUsage[]): string {
  return columns([
    ['NAME', 'CPU', 'MEMORY', 'OF', 'DISK READ', 'WRITTEN', 'NET RECEIVED', 'SENT'],
    ...usages.map((one) => [
      one.name,
      `${one.cpuPercent.toFixed(1)} %`,
      showSize(one.memory),
      showSize(one.memoryMax),
      showOptional(one.diskRead),
      showOptional(one.diskWritten),
      showOptional(one.netReceived),
      showOptional(one.netSent),
    ]),
  ]);
}

function showOptional(bytes: number | null): string {
  return bytes === null ? '-' : showSize(bytes);
}
