import { ApiError } from '../../api/errors.ts';
import type { VmResize } from '../../api/requests.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { RELEASE_MS } from '../hotplug/wait-release.ts';
import type { BootedMachine, Vm } from '../vm.ts';
import { checkBalloon, resizeBalloon } from './balloon.ts';
import { checkRam, resizeRam } from './ram.ts';
import { resizeVcpus } from './vcpus.ts';

/*
 * vm.resize, vm.resize-zone and vm.resize-disk.
 *
 *   resize.ts    vCPUs, RAM and balloon of a booted VM: vcpus.ts, ram.ts (virtio-mem), dimm.ts, balloon.ts
 *   config.ts    the same for a VM that is not booted: its configuration only
 *   disk.ts      size of a disk
 *
 * Invariants: all sizes are checked before the first change. The configuration of the VM has the requested size; the guest may reach it
 * later, or never.
 */

/** One part of vm.resize. All parts are checked before the first is carried out. */
interface Part {
  readonly name: 'desired_vcpus' | 'desired_ram' | 'desired_balloon';
  /** @throws ApiError `invalid-config` naming the bound */
  readonly check: (desired: number, vm: Vm, booted: BootedMachine) => void;
  /** @returns the configuration with the new size */
  readonly resize: (desired: number, vm: Vm, on: Resizing) => Promise<VmConfig>;
}

/** A machine that is resized; `waits` aborts waits for its guest. */
interface Resizing extends BootedMachine {
  readonly waits: AbortSignal;
}

/** Parts in the order in which they are carried out. */
const PARTS: readonly Part[] = [
  { name: 'desired_vcpus', check: checkVcpus, resize: applyVcpus },
  { name: 'desired_ram', check: checkRam, resize: resizeRam },
  { name: 'desired_balloon', check: checkBalloon, resize: resizeBalloon },
];

/**
 * Resizes a booted VM. Rejects with ApiError. If a check fails, nothing is changed. If QEMU refuses one part, the parts before it
 * stay changed and the error names them.
 */
export async function resizeVm(vm: Vm, booted: Resizing, request: VmResize): Promise<void> {
  const wanted = PARTS.flatMap((part) => {
    const desired = request[part.name];
    return desired === undefined ? [] : [{ part, desired }];
  });
  for (const { part, desired } of wanted) part.check(desired, vm, booted);
  const done: string[] = [];
  for (const { part, desired } of wanted) {
    try {
      vm.config = await part.resize(desired, vm, booted);
    } catch (error) {
      throw partFailure(error, part.name, done);
    }
    done.push(part.name);
  }
}

function partFailure(error: unknown, name: string, done: readonly string[]): ApiError {
  const stays = done.length === 0 ? 'nothing was changed' : `${done.join(' and ')} stay as asked for`;
  const code = error instanceof ApiError ? error.code : 'failed';
  return new ApiError(code, `${name} could not be reached; ${stays}`, { cause: error });
}

/** Checks the number of vCPUs. @throws ApiError `invalid-config` naming the bound */
export function checkVcpus(desired: number, { config }: Vm): void {
  const { max_vcpus: max } = config.cpus;
  if (desired >= 1 && desired <= max) return;
  throw new ApiError('invalid-config', `desired_vcpus: must be from 1 to max_vcpus (${max}), got ${desired}`);
}

async function applyVcpus(
  desired: number,
  { config, state }: Vm,
  { machine, waits }: Resizing,
): Promise<VmConfig> {
  // a paused guest releases no vCPU
  await resizeVcpus(machine, desired, { waits, limitMs: state === 'Paused' ? 0 : RELEASE_MS });
  return { ...config, cpus: { ...config.cpus, boot_vcpus: desired } };
}
