import { ApiError } from '../../api/errors.ts';
import type { RamRegion } from '../../devices/memory/plan.ts';
import { QemuError } from '../../qemu/process/qemu-error.ts';
import { startQemu, type Qemu, type WhileStarting } from '../../qemu/process/qemu.ts';
import { abortable } from '../../util/abortable.ts';
import { reasonOf } from '../../util/errno.ts';
import type { ShutdownSignals } from '../../util/shutdown-signals.ts';
import type { Preparations } from '../devices/preparations.ts';
import { qemuFailure } from '../qemu-failure.ts';
import type { PlannedMachine } from './planned-machine.ts';

/** Parts of a start that QEMU's launch needs. */
export interface QemuLaunch extends Pick<WhileStarting, 'onMemory'> {
  readonly signals: ShutdownSignals;
  /** devices, whose back-ends start with QEMU */
  readonly preparations: Preparations;
  /** makes the caller the owner of QEMU */
  readonly ownQemu: (qemu: Qemu) => void;
}

/**
 * Starts QEMU's process and then, while that loads, the threads of the back-ends; all run when this returns. QEMU connects to a thread by a
 * socket pair that exists before. A thread that fails ends QEMU's start.
 * Rejects with ApiError `failed`, naming the device or the memory zone that cannot be made; the caller releases the devices.
 */
export async function launchQemu(
  { signals, preparations, ownQemu, onMemory }: QemuLaunch,
  { plan, layout, ram }: PlannedMachine,
): Promise<Qemu> {
  const failed = new AbortController();
  let backEnds: Promise<void> | undefined;
  const startBackEnds = (): void => {
    backEnds = preparations.startBackEnds();
    backEnds.catch((error: unknown) => failed.abort(error));
  };
  const waits = AbortSignal.any([signals.waits, failed.signal]);
  const kill = AbortSignal.any([signals.kill, failed.signal]);
  try {
    const qemu = await startQemu(plan, { waits, kill }, { onSpawned: startBackEnds, onMemory });
    ownQemu(qemu);
    await untilRunning(backEnds, signals.kill);
    return qemu;
  } catch (error) {
    // QEMU's error is a consequence of the back-end's
    failed.signal.throwIfAborted();
    const zones = zonesOfError(error, ram.regions);
    if (zones.length > 0)
      throw new ApiError('failed', `memory zone ${zones.join(', ')}: ${reasonOf(error)}`, { cause: error });
    throw qemuFailure(error, layout.placements, 'QEMU could not be started');
  }
}

/** Waits for the back-ends. Rejects with QemuError if the start is aborted, as the start of QEMU does. */
async function untilRunning(backEnds: Promise<void> | undefined, kill: AbortSignal): Promise<void> {
  try {
    if (backEnds !== undefined) await abortable(kill, backEnds);
  } catch (error) {
    throw kill.aborted ? new QemuError('the start was ended', undefined, { cause: error }) : error;
  }
}

/** Returns the memory zones of QEMU's error: those of the object that it names, or those with huge pages if QEMU lacks RAM. */
function zonesOfError(error: unknown, regions: readonly RamRegion[]): readonly string[] {
  if (!(error instanceof QemuError)) return [];
  const { part, message } = error;
  const lacksPages = part === undefined && message.includes('guest RAM');
  return regions
    .filter(({ id, backing }) => id === part || (lacksPages && backing.hugepages))
    .flatMap(({ zones }) => zones);
}
