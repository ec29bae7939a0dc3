import { createHash, randomBytes } from 'node:crypto';
import type { RenderCommand } from '../../guest/guest.ts';
import type { DirectoryImage, OciImage } from '../../images/image.ts';
import type { PlannedProcess } from '../../images/process.ts';
import {
  bootArchive,
  GUEST_KERNEL_ARGUMENTS,
  writeBootFiles,
  type GuestBoot,
} from '../guest-tools/boot-initramfs.ts';
import { GUEST_NETWORK, mountCommand } from '../guest-tools/boot-steps.ts';
import {
  enterCommand,
  firstCommand,
  refreshCommand,
  type GuestRefresh,
} from '../guest-tools/enter-command.ts';
import type { KernelDrivers } from '../guest-tools/kernel-drivers.ts';
import type { GuestTools } from '../guest-tools/guest-tools.ts';
import { planSetup, planToolsVm, planVolumes } from '../plan-run.ts';
import type { RunRequest } from '../run-request.ts';
import type { VmPaths } from '../vm-directory/paths.ts';
import { TOOLS_ROOT, type GuestPlan } from './start-guest.ts';

/** A run with guest tools. */
export interface ToolsRun {
  readonly request: RunRequest;
  readonly image: OciImage | DirectoryImage | undefined;
  readonly tools: GuestTools;
  /** modules of a kernel of the user */
  readonly drivers?: KernelDrivers | undefined;
  readonly process: PlannedProcess;
  readonly hostname: string;
}

/** Host name until the first command, which sets that of the VM: all VMs of an image boot the same initramfs. */
const BOOT_HOSTNAME = 'nephos';

/** Plans the start of a VM with guest tools. */
export function planGuest(run: ToolsRun, paths: VmPaths): GuestPlan {
  const { request, image, tools, drivers } = run;
  const description: GuestBoot = {
    tools,
    setup: planSetup(request, image, BOOT_HOSTNAME),
    // that of the image: a snapshot of the guest must not have the variables of one run
    ...(image?.kind === 'oci' && { login: image.process }),
    kernel: request.kernel,
    drivers,
    initramfs: request.initramfs,
  };
  const commandLine = [
    'console=ttyS0 quiet panic=-1',
    GUEST_KERNEL_ARGUMENTS,
    request.kernelArguments ?? [],
  ].flat();
  const config = planToolsVm(request, image, {
    boot: {
      kernel: request.kernel ?? tools.kernel,
      initramfs: paths.initramfs,
      commandLine: commandLine.join(' '),
    },
    paths,
  });
  const id = createHash('sha256').update(tools.fingerprint).update(bootArchive(description)).digest('hex');
  return {
    config,
    paths,
    render: renderer(run),
    writeInitramfs: async () => {
      await writeBootFiles(paths.initramfs, description);
    },
    ...(mayBeWarm(run) && { initramfsId: id }),
    ...(request.volumes.length > 0 && { mountVolumes: mountCommand(planVolumes(request)) }),
    ...(request.snapshot !== undefined && {
      clone: {
        snapshot: request.snapshot,
        refresh: () => refreshCommand(refreshOf(run, randomBytes(16).toString('hex'))),
      },
    }),
  };
}

/**
 * A directory of the host as image changes without notice, and so does an initramfs of the user. A kernel without an image is under test,
 * and its boot is a part of the test. Their guests have no snapshots.
 */
function mayBeWarm({ request, image }: ToolsRun): boolean {
  return !request.isCold && image?.kind === 'oci' && request.initramfs === undefined;
}

/** Command of {@link TOOLS_ROOT} that sets the clock, the random numbers and the names of the guest. */
export const TOOLS_REFRESH = 'refresh';

/** Renders commands of the owner process. The first one in the image sets the clock, the random numbers and the names of the guest. */
function renderer(run: ToolsRun): RenderCommand {
  let isFirst = true;
  // the same at each refresh
  const machineId = randomBytes(16).toString('hex');
  return (command, hasTerminal) => {
    if (command.user === TOOLS_ROOT && typeof command.argv === 'string')
      return command.argv === TOOLS_REFRESH ? refreshCommand(refreshOf(run, machineId)) : command.argv;
    if (!isFirst) return enterCommand(command, hasTerminal);
    isFirst = false;
    return firstCommand(command, hasTerminal, refreshOf(run, machineId));
  };
}

function refreshOf({ request, hostname }: ToolsRun, machineId: string): GuestRefresh {
  return {
    now: Date.now(),
    entropy: randomBytes(64),
    hostname,
    machineId,
    ...(request.network === 'user' && { address: GUEST_NETWORK.address }),
  };
}
