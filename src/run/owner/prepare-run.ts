import { statSync } from 'node:fs';
import { Duplex } from 'node:stream';
import type { Guest, RenderCommand } from '../../guest/guest.ts';
import type { DiskImage, Image } from '../../images/image.ts';
import { reasonOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';
import { planSetup, planToolsVm } from '../plan-run.ts';
import type { VmRecord } from '../record.ts';
import type { RunRequest } from '../run-request.ts';
import type { OwnedVm } from '../vm-directory/vm-directories.ts';
import { SSH_PORT, type ConnectPort } from './guest-socket.ts';
import type { RunParts } from './parts.ts';
import type { StartedGuest, StartOptions, StartRunOptions } from './start-guest.ts';

/** A run whose image and boot files are on this host. */
export interface PreparedRun {
  readonly image: Image | undefined;
  readonly access: VmRecord['access'];
  readonly start: (vm: OwnedVm, options: Omit<StartOptions, 'connect'>) => Promise<StartedGuest>;
  /** Connects other processes to the guest; undefined where its vsock device does */
  readonly connectPort: ((guest: Guest) => ConnectPort) | undefined;
}

/** Finds the image and the boot files of a run. @throws RunError, ImageError */
export async function prepareRun(
  request: RunRequest,
  parts: RunParts,
  { signal, onProgress }: StartRunOptions,
): Promise<PreparedRun> {
  checkVolumes(request);
  const { pull, platform } = request;
  const options = {
    pull,
    signal,
    ...(platform !== undefined && { platform }),
    ...(onProgress && { onProgress }),
  };
  const opening = request.image === undefined ? undefined : parts.openImage(request.image, options);
  const image = await opening;
  if (image?.kind === 'disk') return prepareDisk(image);
  const tools = await parts.openTools({ signal });
  return {
    image,
    access: 'tools',
    start: (vm, startOptions) => {
      const setup = planSetup(request, image, vm.record.name);
      const commandLine = [
        'console=ttyS0 quiet panic=-1',
        parts.toolsCommandLine(setup),
        request.kernelArguments ?? [],
      ].flat();
      const boot = {
        kernel: request.kernel ?? tools.kernel,
        initramfs: request.initramfs ?? tools.initramfs,
        commandLine: commandLine.join(' '),
      };
      const config = planToolsVm(request, image, { boot, paths: vm.paths });
      const plan = { config, paths: vm.paths, render: renderWithTools(parts.render) };
      return parts.start(plan, { ...startOptions, connect: parts.connect });
    },
    connectPort: (guest) => (port) => connectToGuest(guest, parts.sshServer, port),
  };
}

/** A disk image has an SSH server of its own, on its vsock device. */
function prepareDisk({ name }: DiskImage): never {
  throw new RunError('invalid', `image ${name}: disk images cannot be run yet`);
}

/** A user that no guest has: the command is text for the shell of the tools, outside the image. */
const TOOLS_ROOT = '/tools';

/** Renders commands of the owner process: those of {@link TOOLS_ROOT} unchanged, others for the image. */
function renderWithTools(render: RenderCommand): RenderCommand {
  return (command, hasTerminal) =>
    command.user === TOOLS_ROOT && typeof command.argv === 'string'
      ? command.argv
      : render(command, hasTerminal);
}

async function connectToGuest(guest: Guest, sshServer: string, port: number): ReturnType<ConnectPort> {
  if (port !== SSH_PORT) return guest.connectTcp(port);
  const { stdin, stdout } = await guest.spawn(sshServer, { user: TOOLS_ROOT });
  return Duplex.from({ readable: stdout, writable: stdin });
}

/** @throws RunError for a volume that is no directory */
function checkVolumes({ volumes }: RunRequest): void {
  for (const { host } of volumes) {
    let isDirectory: boolean;
    try {
      isDirectory = statSync(host).isDirectory();
    } catch (error) {
      throw new RunError('invalid', `volume ${host}: ${reasonOf(error)}`, { cause: error });
    }
    if (!isDirectory) throw new RunError('invalid', `volume ${host}: it is not a directory`);
  }
}
