import { RunError } from '../errors.ts';
import type { RunParts } from '../owner/parts.ts';
import { prepareRun, type PreparedRun } from '../owner/prepare-run.ts';
import type { RunningVm } from '../owner/run-vm.ts';
import { TOOLS_ROOT } from '../owner/start-guest.ts';
import type { RunRequest } from '../run-request.ts';
import type { OwnedVm } from '../vm-directory/vm-directories.ts';
import { warmKeyOf } from '../warm/warm-key.ts';

/** A run for a stand-by VM: its image and its machine, as they are now. */
export interface PlannedTake {
  readonly prepared: PreparedRun;
  /** Key of its machine: that of a warm snapshot */
  readonly machine: string;
}

/** Plans a request for a VM: opens the image again. @throws RunError where it needs another kind of VM, and as `prepareRun` */
export async function planTake(
  request: RunRequest,
  parts: RunParts,
  { vm, signal }: { readonly vm: OwnedVm; readonly signal: AbortSignal },
): Promise<PlannedTake> {
  const prepared = await prepareRun(request, parts, { signal });
  const { config, initramfsId } = prepared.plan?.(vm) ?? {};
  if (config === undefined || initramfsId === undefined || prepared.image?.kind !== 'oci')
    throw new RunError('invalid', `${request.image ?? ''}: a pool has VMs of OCI images only`);
  return { prepared, machine: await warmKeyOf({ config, initramfsId }) };
}

/** Makes a stand-by VM that of a run: its record, and a first command that gives the guest an identity of its own. */
export async function takeVm(
  running: RunningVm,
  request: RunRequest,
  { image, processOf, plan }: PreparedRun,
): Promise<RunningVm> {
  const { vm, guest } = running;
  const process = processOf(vm.record.name);
  vm.update({
    request,
    started: new Date().toISOString(),
    isStandBy: false,
    process: {
      env: process.env,
      ...(process.cwd !== '' && { cwd: process.cwd }),
      ...(process.user !== '' && { user: process.user }),
    },
  });
  await running.openGuest();
  // renders its first command with a refresh
  const render = plan?.(vm).render;
  const spawn: typeof guest.spawn = (argv, { pty, signal, timeoutMs, ...place } = {}) => {
    if (render === undefined) throw new RunError('start', 'the VM has no guest tools');
    const text = render({ argv, ...place }, pty !== undefined);
    return guest.spawn(text, {
      user: TOOLS_ROOT,
      ...(pty !== undefined && { pty }),
      ...(signal !== undefined && { signal }),
      ...(timeoutMs !== undefined && { timeoutMs }),
    });
  };
  return { ...running, image, process, guest: { ...guest, spawn } };
}
