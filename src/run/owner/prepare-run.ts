import { statSync } from 'node:fs';
import type { Guest } from '../../guest/guest.ts';
import type { DiskImage, Image } from '../../images/image.ts';
import { planProcess, type PlannedProcess } from '../../images/process.ts';
import { reasonOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';
import { startDisk } from '../disk/start-disk.ts';
import type { VmRecord } from '../record.ts';
import type { RunRequest } from '../run-request.ts';
import type { OwnedVm } from '../vm-directory/vm-directories.ts';
import { driversOfKernel } from '../guest-tools/kernel-drivers.ts';
import { joinLayers } from '../guest-tools/layer-disk.ts';
import { SSH_PORT, type ConnectPort } from './guest-socket.ts';
import { createRelays } from './relays.ts';
import type { RunParts } from './parts.ts';
import {
  TOOLS_ROOT,
  type GuestPlan,
  type StartedGuest,
  type StartOptions,
  type StartRunOptions,
} from './start-guest.ts';
import { planGuest, TOOLS_REFRESH } from './tools-plan.ts';

/** A run whose image and boot files are on this host. */
export interface PreparedRun {
  readonly image: Image | undefined;
  readonly access: VmRecord['access'];
  /** Returns the main process, for a VM with a name */
  readonly processOf: (name: string) => PlannedProcess;
  /** Plans the start of a VM with guest tools; undefined for a disk image */
  readonly plan?: (vm: OwnedVm) => GuestPlan;
  readonly start: (vm: OwnedVm, options: Omit<StartOptions, 'connect'>) => Promise<StartedGuest>;
  /** Connects other processes to the guest; undefined where its vsock device does */
  readonly connectPort: ((guest: Guest) => ConnectPort) | undefined;
}

/** Finds the image and the boot files of a run. @throws RunError, ImageError, GuestToolsError */
export async function prepareRun(
  request: RunRequest,
  parts: RunParts,
  options: StartRunOptions,
): Promise<PreparedRun> {
  checkVolumes(request);
  const found = await openImageOf(request, parts, options);
  if (found?.kind === 'disk') return prepareDiskRun(request, found, parts);
  const image = found?.kind === 'oci' ? await joinLayers(found, options.signal) : found;
  const tools = await parts.openTools({ signal: options.signal });
  const { kernel } = request;
  const drivers = kernel === undefined ? undefined : await driversOfKernel(kernel, tools, options);
  const processOf = (name: string): PlannedProcess => {
    const hostname = request.hostname ?? name;
    const process = image?.kind === 'oci' ? image.process : undefined;
    const planned = planProcess(request.image ?? 'kernel', process, { ...request, hostname });
    // a clone continues with the processes of its snapshot
    return request.snapshot === undefined ? planned : { ...planned, argv: [] };
  };
  // a request that names no command fails before anything is made
  processOf('');
  const plan = ({ record: { name }, paths }: OwnedVm): GuestPlan => {
    const hostname = request.hostname ?? name;
    return planGuest({ request, image, tools, drivers, process: processOf(name), hostname }, paths);
  };
  return {
    image,
    access: 'tools',
    processOf,
    plan,
    start: (vm, startOptions) => parts.start(plan(vm), { ...startOptions, connect: parts.connect }),
    connectPort: connectRefreshed,
  };
}

async function openImageOf(
  request: RunRequest,
  parts: RunParts,
  { signal, onProgress }: StartRunOptions,
): Promise<Image | undefined> {
  const { image, pull, platform } = request;
  if (image === undefined) return undefined;
  return parts.openImage(image, {
    pull,
    signal,
    ...(platform !== undefined && { platform }),
    ...(onProgress !== undefined && { onProgress }),
  });
}

/** A disk image has an SSH server of its own, on its vsock device. */
function prepareDiskRun(request: RunRequest, image: DiskImage, { connect }: RunParts): PreparedRun {
  return {
    image,
    access: 'vsock',
    processOf: () => processOfDisk(request),
    start: (vm, options) => startDisk({ request, image, connect }, vm, options),
    connectPort: undefined,
  };
}

/** Command of a disk image where the request has none. */
export const LOGIN_SHELL: readonly string[] = ['/bin/sh', '-c', 'exec "${SHELL:-/bin/sh}" -l'];

/** Returns the command in an operating system: a log-in shell by default, and none in the background. Variables are added to its own. */
function processOfDisk(request: RunRequest): PlannedProcess {
  const { entrypoint, command, isDetached, env, workingDirectory = '', user = '' } = request;
  const words = [...(entrypoint === undefined || entrypoint === '' ? [] : [entrypoint]), ...command];
  const argv = words.length > 0 || isDetached ? words : LOGIN_SHELL;
  return { argv, env, cwd: workingDirectory, user };
}

/** Connects to a guest with the clock, the random numbers and the names of its VM: a connection may precede the first command, which sets them too. */
function connectRefreshed(guest: Guest): ConnectPort {
  let refreshed: Promise<void> | undefined;
  const connectRelay = createRelays(guest);
  return async (port, signal) => {
    refreshed ??= refresh(guest);
    try {
      await refreshed;
    } catch (error) {
      refreshed = undefined;
      throw error;
    }
    return port === SSH_PORT ? connectRelay(signal) : guest.connectTcp(port);
  };
}

async function refresh(guest: Guest): Promise<void> {
  const { exitCode, stderr } = await guest.exec(TOOLS_REFRESH, { user: TOOLS_ROOT });
  if (exitCode !== 0) throw new RunError('start', `the guest cannot get its identity: ${stderr}`);
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
