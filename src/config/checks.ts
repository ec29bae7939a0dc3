import { FILE_MISSING, SOCKET_MISSING, type ConsoleConfig } from '../devices/console/config.ts';
import { CMDLINE, OEM_STRINGS } from '../devices/common/limits.ts';
import { isUuid } from '../devices/platform/rules.ts';
import { checkAffinity } from './affinity-checks.ts';
import { ITEMS_SHOWN } from '../util/clip.ts';
import { checkBusDevices } from './bus-checks.ts';
import { dialectOf } from './dialect.ts';
import { checkFwCfg } from './fw-cfg-checks.ts';
import { checkBalloon, checkMemory } from './memory-checks.ts';
import { checkNuma } from './numa-checks.ts';
import { checkSegments } from './segment-checks.ts';
import { checkSlots } from './slot-checks.ts';
import type { VmConfig } from './vm-config.ts';

/** Something that a configuration gets wrong although its shape is right. */
export interface Problem {
  readonly kind: 'invalid' | 'duplicate';
  /** the member and the reason, e.g. `disks[0]: ...` */
  readonly text: string;
}

/** Notes one problem at a member. */
export type Report = (place: string, reason: string, kind?: Problem['kind']) => void;

/**
 * The rules that join several members, and those that the engine sets,
 * as far as they can be told without looking at the host. Texts are the original's where it has the rule.
 */
export function checkVmConfig(config: VmConfig): Problem[] {
  const problems: Problem[] = [];
  const report: Report = (place, reason, kind = 'invalid') => {
    problems.push({ kind, text: `${place}: ${reason}` });
    if (problems.length >= PROBLEMS_MAX) throw new EnoughProblems();
  };
  try {
    checkAll(config, report);
  } catch (error) {
    if (!(error instanceof EnoughProblems)) throw error;
  }
  return problems;
}

/** So many are never told: looking for more would hold up everything else. */
const PROBLEMS_MAX = 5 * ITEMS_SHOWN;

/** Ends the checks of a configuration. */
class EnoughProblems extends Error {}

function checkAll(config: VmConfig, report: Report): void {
  checkExtent(config, report);
  checkPayload(config, report);
  checkPlatform(config, report);
  checkConsoles(config, report);
  checkCpus(config, report);
  checkMemory(config.memory, report);
  checkBalloon(config.balloon, config.memory, report);
  checkBusDevices(config, report);
  checkNuma(config, report);
  checkAffinity(config, report);
  checkSegments(config, report);
  checkSlots(config, report);
  checkFwCfg(config, report);
}

/** Largest configuration in `bytes` of JSON: vm.info shows all of it, and snapshots and migrations carry it. */
const CONFIG_MAX = 256 * 1024;

/** A configuration grows by vm.add-* too, so the bounds of a request are not enough. */
function checkExtent(config: VmConfig, report: Report): void {
  const bytes = Buffer.byteLength(JSON.stringify(config));
  if (bytes > CONFIG_MAX) report('config', `has ${bytes} bytes of JSON, ${CONFIG_MAX} are possible`);
}

function checkPayload({ kernel, initramfs, cmdline, rng }: VmConfig, report: Report): void {
  if (kernel.path === '') report('kernel.path', 'No kernel specified');
  if (initramfs?.path === '') report('initramfs.path', 'must not be empty');
  if (rng.src === '') report('rng.src', 'must not be empty');
  if (!new RegExp(CMDLINE.pattern).test(cmdline.args))
    report('cmdline.args', 'only printable ASCII is possible');
  if (cmdline.args.length > CMDLINE.maxLength)
    report('cmdline.args', `longer than ${CMDLINE.maxLength} bytes`);
}

const PLATFORM_TEXTS = [
  'serial_number',
  'system_manufacturer',
  'system_product_name',
  'system_version',
  'system_family',
  'system_sku_number',
  'chassis_asset_tag',
] as const;

function checkPlatform({ platform }: VmConfig, report: Report): void {
  if (platform === undefined) return;
  const { uuid, oem_strings: strings = [] } = platform;
  if (uuid !== undefined && !isUuid(uuid)) report('platform.uuid', `"${uuid}" is no UUID`);
  if (strings.length > OEM_STRINGS.maxItems) {
    report('platform.oem_strings', `more than ${OEM_STRINGS.maxItems}`);
  }
  for (const member of PLATFORM_TEXTS)
    if (platform[member] === '') report(`platform.${member}`, 'must not be empty');
  if (strings.includes('')) report('platform.oem_strings', 'must not be empty');
}

function checkConsoles(config: VmConfig, report: Report): void {
  const { serial, console, debug_console: debug } = config;
  if (!dialectOf(config).sharesTerminal) checkTerminal(config, report);
  for (const [member, config] of Object.entries({ console, serial, debug_console: debug })) {
    if (config !== undefined) checkPaths(member, config, report);
  }
}

function checkTerminal({ serial, console, debug_console: debug }: VmConfig, report: Report): void {
  if (serial.mode === 'Tty' && console.mode === 'Tty') {
    report('console.mode', 'Console mode tty specified for both serial and console');
  }
  if (debug?.mode === 'Tty' && [serial.mode, console.mode].includes('Tty')) {
    report('debug_console.mode', 'the terminal is that of another console already');
  }
}

function checkPaths(
  member: string,
  { mode, file = '', socket = '' }: Pick<ConsoleConfig, 'mode' | 'file'> & { socket?: string | undefined },
  report: Report,
): void {
  if (mode === 'File' && file === '') report(`${member}.file`, FILE_MISSING);
  if (mode === 'Socket' && socket === '') report(`${member}.socket`, SOCKET_MISSING);
}

function checkCpus({ cpus }: VmConfig, report: Report): void {
  const { boot_vcpus: boot, max_vcpus: max, topology } = cpus;
  if (max < boot) {
    // the original's words say the opposite of what they mean: the numbers help
    report('cpus.max_vcpus', `Max CPUs greater than boot CPUs (boot_vcpus ${boot}, max_vcpus ${max})`);
  }
  if (topology === undefined) return;
  const parts = Object.values(topology);
  if (parts.includes(0)) report('cpus.topology', 'No part of the CPU topology can be zero');
  const product = parts.reduce((total, one) => total * one, 1);
  if (product !== max && product > 0) {
    report(
      'cpus.topology',
      `Product of CPU topology parts does not match maximum vCPUs (${product}, max_vcpus ${max})`,
    );
  }
}
