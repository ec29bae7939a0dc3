import { rmSync } from 'node:fs';
import type { Guest } from '../../guest/guest.ts';
import type { Image } from '../../images/image.ts';
import type { PlannedProcess } from '../../images/process.ts';
import { reasonOf } from '../../util/errno.ts';
import { createCleanupStack, type CleanupStack } from '../../util/cleanup-stack.ts';
import { deferred } from '../../util/deferred.ts';
import { createLog } from '../../util/log.ts';
import type { NotifyMessage } from '../../sdk/notify/message.ts';
import type { VmmProcess } from '../../sdk/vmm-process.ts';
import { RunError } from '../errors.ts';
import type { RunRequest } from '../run-request.ts';
import { createVm, type OwnedVm } from '../vm-directory/vm-directories.ts';
import type { RunExit } from './command-exit.ts';
import { createEventsFile } from './events-file.ts';
import { watchGuestEnd } from './guest-end.ts';
import { serveGuestSocket } from './guest-socket.ts';
import type { RunParts } from './parts.ts';
import { publishedPorts } from './ports.ts';
import { prepareRun, type PreparedRun } from './prepare-run.ts';
import type { GuestReboots, StartedGuest, StartOptions, StartRunOptions } from './start-guest.ts';

const log = createLog('run');

/** A VM of this process with a guest that can run commands. */
export interface RunningVm {
  readonly vm: OwnedVm;
  readonly image: Image | undefined;
  /** Main process */
  readonly process: PlannedProcess;
  readonly vmm: VmmProcess;
  /** Connection to the guest: another one after a reboot */
  readonly guest: Guest;
  /** Reboots of the guest; undefined where a reset ends the VM */
  readonly reboots: GuestReboots | undefined;
  /** Settles with the reason when the VM has ended by itself, or its guest has failed */
  readonly failed: Promise<RunError>;
  /** Ends the VM, records its exit, or removes its directory where the request says so. A second call waits for the first. */
  readonly finish: (exit: RunExit) => Promise<void>;
  /** Lets other processes connect to the guest of a stand-by VM. */
  readonly openGuest: () => Promise<void>;
}

/**
 * Makes the directory of a VM and starts it. Nothing is left where that fails, also no directory.
 * @throws RunError, ImageError, LaunchError, RequestError, GuestError
 */
export async function startRun(
  request: RunRequest,
  parts: RunParts,
  options: StartRunOptions,
): Promise<RunningVm> {
  const prepared = await prepareRun(request, parts, options);
  const { image, access } = prepared;
  const { isStandBy = false } = options;
  options.signal.throwIfAborted();
  const vm = await createVm({ request, access, ...imageIdOf(image), ...(isStandBy && { isStandBy }) });
  const stack = createCleanupStack();
  try {
    return await startInDirectory(vm, prepared, { stack, signal: options.signal });
  } catch (error) {
    await stack[Symbol.asyncDispose]();
    await vm.remove();
    throw error;
  }
}

function imageIdOf(image: Image | undefined): { imageId?: string } {
  if (image === undefined) return {};
  return { imageId: image.kind === 'oci' ? image.digest : image.path };
}

async function startInDirectory(
  vm: OwnedVm,
  prepared: PreparedRun,
  { stack, signal }: { readonly stack: CleanupStack; readonly signal: AbortSignal },
): Promise<RunningVm> {
  const ended = new AbortController();
  const failed = deferred<RunError>();
  // a guest that crashes while it boots ends the start
  failed.promise.then((error) => ended.abort(error)).catch(() => undefined);
  const { vmm, guest, isWarm, reboots } = await startOrCrash(prepared, vm, {
    failed: failed.promise,
    signal: AbortSignal.any([signal, ended.signal]),
    ...watchStart(vm, stack, failed.resolve),
  });
  stack.use(vmm);
  stack.use(guest);
  const openGuest = async (): Promise<void> => {
    if (prepared.connectPort === undefined) return;
    stack.use(await serveGuestSocket(vm.paths.guest, prepared.connectPort(guest)));
  };
  // the guest of a stand-by VM is fresh until a run takes it
  if (vm.record.isStandBy !== true) await openGuest();
  const ports = await publishedPorts(vm.record.request, vmm.client);
  const process = prepared.processOf(vm.record.name);
  vm.update({
    vmmPid: vmm.pid,
    started: new Date().toISOString(),
    ports,
    isWarm,
    process: {
      env: process.env,
      ...(process.cwd !== '' && { cwd: process.cwd }),
      ...(process.user !== '' && { user: process.user }),
    },
  });
  let finished: Promise<void> | undefined;
  const finish = (exit: RunExit): Promise<void> => (finished ??= finishRun(vm, stack, exit));
  return {
    vm,
    image: prepared.image,
    process,
    vmm,
    get guest() {
      return reboots?.guest() ?? guest;
    },
    reboots,
    failed: failed.promise,
    finish,
    openGuest,
  };
}

/** Records the events of a VM in its directory, and calls `fail` with the reason when the VM has ended or its guest has failed. */
function watchStart(
  { paths }: OwnedVm,
  stack: CleanupStack,
  fail: (error: RunError) => void,
): Pick<StartOptions, 'onVmm' | 'onEvents' | 'onFailed' | 'onReport'> {
  const events = stack.use(createEventsFile(paths.events));
  let exitCode: number | undefined;
  return {
    onVmm: (started) => {
      events.record(started.events);
      watchGuestEnd(started, paths.serial, () => exitCode)
        // a start that fails ends the VMM: its own reason counts
        .then((error) => started.isDisposed() || fail(error))
        .catch((error: unknown) => log.error(`the end of the VM is unknown: ${reasonOf(error)}`));
    },
    onEvents: events.record,
    onFailed: fail,
    onReport: (message) => {
      exitCode = chosenExitCode(message) ?? exitCode;
      events.addReport(message);
    },
  };
}

/** Returns the exit code that a guest has chosen (`systemctl exit`). Each shutdown reports one: 0 without a choice. */
function chosenExitCode({ shutdown, exitStatus }: NotifyMessage): number | undefined {
  return shutdown === 'exit' || exitStatus !== 0 ? exitStatus : undefined;
}

/** Starts the VM. Rejects with the crash of the guest where that is the reason: `failed` settles with it. */
async function startOrCrash(
  prepared: PreparedRun,
  vm: OwnedVm,
  { failed, ...options }: Parameters<PreparedRun['start']>[1] & { readonly failed: Promise<RunError> },
): Promise<StartedGuest> {
  let vmm: VmmProcess | undefined;
  const onVmm = (started: VmmProcess): void => {
    vmm = started;
    options.onVmm(started);
  };
  try {
    return await prepared.start(vm, { ...options, onVmm });
  } catch (error) {
    const reason: unknown = options.signal.reason;
    if (reason instanceof RunError) throw reason;
    // the exit of the VMM breaks its connections before its reason is known
    if (vmm?.isDisposed() === false) throw await failed;
    throw error;
  }
}

async function finishRun(vm: OwnedVm, stack: CleanupStack, exit: RunExit): Promise<void> {
  await stack[Symbol.asyncDispose]();
  rmSync(vm.paths.initramfs, { force: true });
  if (vm.record.request.removes) return vm.remove();
  try {
    vm.update({ finished: new Date().toISOString(), exit });
  } catch (error) {
    // a directory that was removed by hand
    log.warn(`${vm.paths.directory}: the exit cannot be recorded: ${reasonOf(error)}`);
  }
  vm[Symbol.dispose]();
}
