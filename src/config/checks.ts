import { balloon } from '../devices/balloon/index.ts';
import type { Problem, Report, RuleContext } from '../devices/common/rules.ts';
import { console } from '../devices/console/index.ts';
import { checkCpuAffinity } from '../devices/cpus/rules.ts';
import { cpus } from '../devices/cpus/index.ts';
import { debugConsole } from '../devices/debug-console/index.ts';
import type { Device } from '../devices/device.ts';
import { disk } from '../devices/disk/index.ts';
import { checkQueueAffinity } from '../devices/disk/rules.ts';
import { fs } from '../devices/fs/index.ts';
import { DEVICES } from '../devices/table.ts';
import { ivshmem } from '../devices/ivshmem/index.ts';
import { landlockRules } from '../devices/landlock/index.ts';
import { memory } from '../devices/memory/index.ts';
import { plannedMemory } from '../devices/memory/zones.ts';
import { net } from '../devices/net/index.ts';
import {
  checkBootFiles,
  checkCommandLine,
  checkFirmwareVariables,
  checkFwCfg,
} from '../devices/payload/rules.ts';
import { platform } from '../devices/platform/index.ts';
import { pmem } from '../devices/pmem/index.ts';
import { rateLimitGroup } from '../devices/rate-limit-group/index.ts';
import { rng } from '../devices/rng/index.ts';
import { serial } from '../devices/serial/index.ts';
import { sgxEpc } from '../devices/sgx-epc/index.ts';
import { tpm } from '../devices/tpm/index.ts';
import { vfio } from '../devices/vfio/index.ts';
import { vsock } from '../devices/vsock/index.ts';
import { ITEMS_SHOWN } from '../util/clip.ts';
import { dialectOf } from './dialect.ts';
import { checkIds } from './id-checks.ts';
import { memberItems } from './items.ts';
import { checkNuma } from './numa-checks.ts';
import { checkGroupsOfDisks } from './rate-limit-checks.ts';
import { checkSegments } from './segment-checks.ts';
import { checkSlots } from './slot-checks.ts';
import { checkTerminal } from './terminal-checks.ts';
import type { VmConfig } from './vm-config.ts';

/** A rule about several devices, or about members that are no devices. */
type Rule = (config: VmConfig, report: Report) => void;

/**
 * All rules, in the order in which clients see their problems. A device stands for the rules in its own folder. Devices that are
 * not listed follow, in the order of the table.
 */
const RULES: readonly (Device | Rule)[] = [
  checkExtent,
  checkBootFiles,
  rng,
  ({ cmdline }, report) => checkCommandLine(cmdline, report),
  platform,
  checkTerminal,
  ...[console, serial, debugConsole, cpus, memory, balloon, disk, rateLimitGroup],
  checkGroupsOfDisks,
  ...[net, fs, pmem, vsock, vfio, tpm, landlockRules, ivshmem],
  checkIds,
  checkNuma,
  sgxEpc,
  checkAffinity,
  checkSegments,
  checkSlots,
  ({ payload }, report) => checkFirmwareVariables(payload, report),
  ({ payload }, report) => checkFwCfg(payload?.fw_cfg_config, report),
];

/** Problems after which the checks end: messages show fewer, and more of them would block the event loop. */
const PROBLEMS_MAX = 5 * ITEMS_SHOWN;

/** Thrown to stop the checks of a configuration. */
class TooManyProblems extends Error {}

/** Returns the rules that a decoded configuration breaks. Does not read the host. */
export function checkVmConfig(config: VmConfig): Problem[] {
  const problems: Problem[] = [];
  const report: Report = (place, reason, kind = 'invalid') => {
    problems.push({ kind, text: `${place}: ${reason}` });
    if (problems.length >= PROBLEMS_MAX) throw new TooManyProblems();
  };
  try {
    checkAll(config, report);
  } catch (error) {
    if (!(error instanceof TooManyProblems)) throw error;
  }
  return problems;
}

function checkAll(config: VmConfig, report: Report): void {
  const machine = {
    bootVcpus: config.cpus.boot_vcpus,
    sharesRam: sharesRam(config),
    ram: plannedMemory(config.memory),
    report,
  };
  const further = DEVICES.filter((device) => !RULES.includes(device));
  for (const rule of [...RULES, ...further]) {
    if (typeof rule === 'function') rule(config, report);
    else checkDevice(rule, config, machine);
  }
}

/** Checks each item of a device, then the items together. */
function checkDevice(device: Device, config: VmConfig, machine: Omit<RuleContext, 'place'>): void {
  if (device.derive !== undefined) return;
  const items = memberItems(device, config);
  for (const item of items) device.check?.(item.config, { ...machine, place: item.place });
  device.checkList?.(
    items.map((item) => item.config),
    machine.report,
  );
}

/** Returns true if vhost-user back-ends can map the RAM, by the rule of the VM's dialect. */
function sharesRam(config: VmConfig): boolean {
  const { shared, hugepages, size, zones = [] } = config.memory;
  if (shared || !dialectOf(config).countsSharedPages) return shared;
  return hugepages || (size === 0 && zones.length > 0 && zones.every((one) => one.shared || one.hugepages));
}

/** Largest configuration in `bytes` of JSON: vm.info shows all of it, and snapshots and migrations contain it. */
const CONFIG_BYTES_MAX = 256 * 1024;

/** Checks the size of the configuration: the bounds of one request do not limit the sum of several vm.add-*. */
function checkExtent(config: VmConfig, report: Report): void {
  const bytes = Buffer.byteLength(JSON.stringify(config));
  if (bytes > CONFIG_BYTES_MAX) {
    report('config', `has ${bytes} bytes of JSON, ${CONFIG_BYTES_MAX} are possible`);
  }
}

/** Checks the host CPUs of vCPUs and of the queues of disks: their problems follow those of other rules. */
function checkAffinity({ cpus, disks = [] }: VmConfig, report: Report): void {
  checkCpuAffinity(cpus, report);
  for (const [i, disk] of disks.entries()) checkQueueAffinity(disk, `disks[${i}]`, report);
}
