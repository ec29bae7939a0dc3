import { createWriteStream, rmSync } from 'node:fs';
import type { Guest } from '../../guest/guest.ts';
import type { Image } from '../../images/image.ts';
import type { PlannedProcess } from '../../images/process.ts';
import { reasonOf } from '../../util/errno.ts';
import { createCleanupStack, type CleanupStack } from '../../util/cleanup-stack.ts';
import { deferred } from '../../util/deferred.ts';
import { createLog } from '../../util/log.ts';
import type { VmmProcess } from '../../sdk/vmm-process.ts';
import { RunError } from '../errors.ts';
import type { RunRequest } from '../run-request.ts';
import { createVm, type OwnedVm } from '../vm-directory/vm-directories.ts';
import type { RunExit } from './command-exit.ts';
import { watchGuestEnd } from './guest-end.ts';
import { serveGuestSocket } from './guest-socket.ts';
import type { RunParts } from './parts.ts';
import { publishedPorts } from './ports.ts';
import { prepareRun, type PreparedRun } from './prepare-run.ts';
import type { StartedGuest, StartRunOptions } from './start-guest.ts';

const log = createLog('run');

/** A VM of this process with a guest that can run commands. */
export interface RunningVm {
  readonly vm: OwnedVm;
  readonly image: Image | undefined;
  /** Main process */
  readonly process: PlannedProcess;
  readonly vmm: VmmProcess;
  readonly guest: Guest;
  /** Settles with the reason when the VM has ended by itself */
  readonly failed: Promise<RunError>;
  /** Ends the VM, records its exit, or removes its directory where the request says so. A second call waits for the first. */
  readonly finish: (exit: RunExit) => Promise<void>;
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
  options.signal.throwIfAborted();
  const vm = await createVm({ request, access, ...imageIdOf(image) });
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
  const { vmm, guest, isWarm } = await startOrCrash(prepared, vm, {
    signal: AbortSignal.any([signal, ended.signal]),
    onVmm: (started) => {
      stack.use(recordEvents(started, vm.paths.events));
      watchGuestEnd(started, vm.paths.serial).then(failed.resolve).catch(failed.reject);
    },
  });
  stack.use(vmm);
  stack.use(guest);
  if (prepared.connectPort !== undefined) {
    const connect = prepared.connectPort(guest);
    stack.use(await serveGuestSocket(vm.paths.guest, connect));
  }
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
  return { vm, image: prepared.image, process, vmm, guest, failed: failed.promise, finish };
}

/** Writes the events of a VMM to a file until they end. A file that cannot be written is left incomplete. */
function recordEvents({ events }: VmmProcess, path: string): Disposable {
  const file = createWriteStream(path, { flags: 'a', mode: 0o600 });
  file.on('error', (error) => log.warn(`${path}: ${reasonOf(error)}`));
  events.pipe(file);
  return { [Symbol.dispose]: () => void file.end() };
}

/** Starts the VM. Rejects with the crash of the guest where that is the reason. */
async function startOrCrash(
  prepared: PreparedRun,
  vm: OwnedVm,
  options: Parameters<PreparedRun['start']>[1],
): Promise<StartedGuest> {
  try {
    return await prepared.start(vm, options);
  } catch (error) {
    const reason: unknown = options.signal.reason;
    throw reason instanceof RunError ? reason : error;
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
