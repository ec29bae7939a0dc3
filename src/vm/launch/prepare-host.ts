import type { VmConfig } from '../../config/vm-config.ts';
import { chooseAccelerator, type Accelerator } from '../../host/system/accelerator.ts';
import type { HostFacts } from '../../plan/machine-plan.ts';
import type { Placement } from '../../plan/placement.ts';
import { checkVcpuAffinity } from '../affinity/check-affinity.ts';
import type { ExpectedImage } from '../devices/disk/expected-image.ts';
import type { HostPorts } from '../devices/net/host-ports.ts';
import type { Preparations } from '../devices/preparations.ts';
import { firmwareOnly, openBootFiles, type BootFiles } from './boot-files.ts';
import { checkHost } from './check-host.ts';
import type { VariablesRequest } from './efi-variables.ts';
import { openInheritedFiles } from './inherited-files.ts';
import type { MachineStart } from './machine-start.ts';

/** Input of the preparation of the host for a machine. */
export interface HostRequest {
  readonly config: VmConfig;
  readonly placements: readonly Placement[];
  /** see `Vm` */
  readonly rawImages: Set<string>;
  /** QEMU's firmware, for a machine whose guest no longer needs its boot files: none are opened */
  readonly firmware?: 'qboot.rom' | 'bios-256k.bin' | undefined;
  readonly variables: VariablesRequest;
  /** images of the devices in the snapshot or migration that the machine continues from, by device id */
  readonly images?: ReadonlyMap<string, ExpectedImage>;
  /** host ports of the machine that this one replaces */
  readonly hostPorts?: HostPorts;
  /** resources of the devices that another QEMU of the same VM has: they are neither opened nor made again */
  readonly shared?: Preparations;
}

/** Host facts that are input of a machine's plan. */
export interface PreparedHost extends Omit<HostFacts, 'acpiPatch' | 'accelerator'> {
  readonly accelerator: Accelerator;
  /** size of the image of EFI variables, in `bytes` */
  readonly efiVariables?: number | undefined;
}

/**
 * Prepares the host for a machine: checks RAM and processors, opens the boot files, and opens or makes the resources of each device.
 * Back-ends of the VMM do not run yet: `launch-qemu.ts` starts them. Rejects with ApiError `failed` naming the
 * setting or the device; `start` owns all resources.
 */
export async function prepareHost(start: MachineStart, request: HostRequest): Promise<PreparedHost> {
  const { config } = request;
  start.tracker.enter('preparing the host');
  const accelerator = chooseAccelerator();
  await checkVcpuAffinity(config);
  const boot = start.hold(await bootFilesOf(request, accelerator));
  if (request.shared === undefined) await prepareDevices(start, request);
  const inherited = start.hold(await openInheritedFiles(config, boot));
  return {
    accelerator,
    kernel: boot.kernel,
    variables: boot.variables?.path,
    efiVariables: boot.variables?.bytes,
    initramfs: boot.initramfs,
    ...inherited.facts,
    facts: (request.shared ?? start.preparations).facts(),
  };
}

async function bootFilesOf(
  { config, firmware, variables }: HostRequest,
  accelerator: Accelerator,
): Promise<BootFiles> {
  if (firmware !== undefined) return firmwareOnly(firmware);
  await checkHost(config, accelerator);
  return openBootFiles(config, variables);
}

async function prepareDevices(
  { preparations, signals, checkNotAborted }: MachineStart,
  { config, placements, rawImages, images, hostPorts }: HostRequest,
): Promise<void> {
  for (const placement of placements) {
    checkNotAborted();
    const { id } = placement;
    await preparations.begin(placement, {
      vm: config,
      rawImages,
      expected: images?.get(id),
      hostPorts: hostPorts?.get(id),
      signal: signals.waits,
    });
  }
}
