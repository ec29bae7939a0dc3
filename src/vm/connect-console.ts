import type { ViewedConsole } from '../api/console-messages.ts';
import { ApiError } from '../api/errors.ts';
import { isOwnBackend } from '../devices/common/step.ts';
import { qemuIdOf } from '../plan/placement.ts';
import { runOperation } from './operations.ts';
import type { Qemu } from '../qemu/process/qemu.ts';
import type { Consoles } from './consoles.ts';
import type { Machine } from './machine.ts';
import type { VmmState } from './vmm-state.ts';

/**
 * Makes QEMU send the output of a console to the VMM, if it does not yet: the first viewer of a machine needs it. It stays so until the
 * next machine. An operation, as the vCPUs are stopped for some milliseconds. Rejects with ApiError `failed`; the console is unchanged then.
 */
export async function connectConsole(vmm: VmmState, which: ViewedConsole): Promise<void> {
  if (isConnected(vmm, which)) return;
  await runOperation(vmm, async () => {
    const booted = vmm.vm?.booted;
    if (booted === undefined || isConnected(vmm, which)) return;
    await switchConsole(booted, which).catch((cause: unknown) => {
      throw new ApiError('failed', `${which} _${which}: cannot be viewed`, { cause });
    });
  });
}

function isConnected({ vm }: VmmState, which: ViewedConsole): boolean {
  return vm?.booted?.consoles.isAttached(which) !== false;
}

/** Machine whose consoles can get a channel. */
export interface SwitchedMachine extends Pick<Machine, 'layout' | 'deviceSteps'> {
  readonly qemu: Pick<Qemu, 'switchToChannel'>;
}

/** A machine, and the host ends of its consoles. */
interface Switched {
  readonly machine: SwitchedMachine;
  readonly consoles: Pick<Consoles, 'attachLate'>;
}

/** Replaces QEMU's own back-end of a console by a channel; nothing to do for a back-end that is none of QEMU's. Rejects with the reason. */
export async function switchConsole({ machine, consoles }: Switched, which: ViewedConsole): Promise<void> {
  const placement = machine.layout.placements.find(({ device }) => device.member === which);
  const steps = placement && machine.deviceSteps.get(placement.id);
  const chardev = steps?.find((step) => step.kind === 'chardev');
  if (placement === undefined || chardev === undefined || !isOwnBackend(chardev.backend)) return;
  const { backend } = chardev;
  await machine.qemu.switchToChannel({ id: qemuIdOf(placement), backend }, (kept, channel) =>
    consoles.attachLate(which, kept, channel),
  );
}
