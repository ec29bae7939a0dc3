import type { NewSnapshot } from '../../../snapshot-files/snapshot-folder.ts';
import { abortable } from '../../../util/abortable.ts';
import { createLog } from '../../../util/log.ts';
import { watchAllBursts } from '../../devices/disk/bursts.ts';
import { describeMachine } from '../../machine-state/describe-machine.ts';
import { fromSaved } from '../../machine-state/machine-description.ts';
import { diskSizes } from '../../machine-state/images.ts';
import { checkSaveable } from '../../machine-state/saveable.ts';
import type { Machine } from '../../machine.ts';
import { captureRest, ownBlocks, type CapturedMachine } from '../capture-machine.ts';
import { saveSnapshot } from '../save.ts';
import { continueInPlace } from './continue-in-place.ts';
import { openDiskCopies } from './copy-disks.ts';
import { flushImages } from './flush-images.ts';
import type { LiveRequest } from './live-request.ts';
import { preparePass } from './pass-consoles.ts';
import { prepareTaps } from './pass-taps.ts';
import { releaseOwnPages } from './release-pages.ts';
import { startTwin } from './start-twin.ts';
import { switchOver } from './switchover.ts';
import { pageCopies } from './twin-memory.ts';

/*
 * Snapshot of a running VM. Its RAM is frozen in a short pause and written while the VM runs on.
 *
 * In place (`remap`): the RAM is a file in memory. In the pause QEMU's mapping of it becomes a private one, so that the file keeps its contents.
 * The VM continues in the same QEMU.
 *
 * In a twin (`twin`), where that is not possible: a second QEMU of the same machine waits beside the running one, and maps its RAM privately. In
 * the pause the twin gets the state of the devices and continues. The RAM of the first QEMU, which stays stopped, no longer changes: it
 * is written as that of a paused VM, and the first QEMU is killed. An emulated guest then runs slowly for 20 to 40 ms, as the twin has
 * no translated code.
 *
 *   live-snapshot.ts    this file: the sequence, and the choice of the way
 *   reason-to-copy.ts   pure: machines that cannot be frozen; these are paused while their RAM is written (`copy`)
 *   find-freezer.ts     whether the RAM can be frozen in place
 *   limit-pause.ts      time limit of a pause, times of its steps
 *   flush-images.ts     shortens the stop; release-pages.ts: frees RAM of which QEMU has copies
 *
 *   continue-in-place.ts  the pause without a twin: stop, state, freeze, continue
 *   freeze-memory.ts      changes the mappings of QEMU, copies private pages
 *
 *   twin-plan.ts        pure: the plan of the twin
 *   start-twin.ts       starts it
 *   twin-memory.ts      files behind the RAM, copies of private pages
 *   switchover.ts       the pause: stop, state, networks, pages, load, continue; or roll-back
 *   pass-consoles.ts    consoles of the two QEMUs; pass-taps.ts: settings of TAPs
 *   copy-disks.ts       copies of the disks, as they were in the pause; disk-copy-plan.ts: which, and their names
 *
 * States of the first QEMU: running, stopped, frozen (the twin runs), killed. States of the twin: waiting, loaded, running, or killed.
 *
 *   first QEMU    twin        an error, a cancellation, or an exit of the twin
 *   running       waiting     kills the twin
 *   stopped       waiting     kills the twin; the first QEMU continues
 *   stopped       loaded      kills the twin; the first QEMU takes the locks of the images again and continues
 *   frozen        running     ends the snapshot only; an exit of the twin is that of the VM's QEMU
 *   killed        running     the snapshot is complete, or has failed
 *
 * Invariants: vCPUs run in at most one of the two. The first QEMU continues only when the twin is dead, and never after the twin got
 * the command to run, unless QEMU refused that command. Only the QEMU that runs has active images. Frozen RAM is not written until
 * the snapshot is complete or has failed. Disks are copied by the QEMU that runs on: its exit, e.g. at a reset of the guest, ends
 * the snapshot.
 */

const log = createLog('snapshot');

/**
 * Writes a snapshot of a running VM, which continues in its QEMU, or in a twin where there is no freezer. If it rejects, the VM
 * runs in one of the two QEMUs.
 * @returns the time for which its vCPUs were stopped, in `milliseconds`
 */
export async function snapshotLive(live: LiveRequest): Promise<number> {
  const { machine: first } = live.booted;
  await abortable(live.running.kill, checkSaveable(first, 'be in a snapshot'));
  let continued: Continued | undefined;
  const capture = async (folder: NewSnapshot): Promise<CapturedMachine> => {
    const { freezer } = live.freezing;
    if (freezer === undefined) {
      return continueInTwin(live, folder, (one) => {
        continued = one;
      });
    }
    const blocks = await abortable(live.running.kill, ownBlocks(first));
    const { captured, pauseMs } = await continueInPlace({ ...live, folder }, blocks, freezer);
    continued = { machine: first, pauseMs };
    return captured;
  };
  try {
    const base = await saveSnapshot(first, live.request, live.running, capture);
    if (continued !== undefined) continued.machine.snapshotBase = base;
    return continued?.pauseMs ?? 0;
  } finally {
    if (!live.isCurrent(first)) await first.qemu.kill();
    if (continued !== undefined) await releaseOwnPages(continued.machine, live.running.kill);
  }
}

/** The machine that continues. */
interface Continued {
  readonly machine: Machine;
  /** time for which the vCPUs were stopped, in `milliseconds` */
  readonly pauseMs: number;
}

/** Lets a twin continue. @returns the first machine, stopped */
async function continueInTwin(
  { vm, booted, running, copied, setMachine, onStopped }: LiveRequest,
  folder: NewSnapshot,
  onContinued: (continued: Continued) => void,
): Promise<CapturedMachine> {
  const { machine: first } = booted;
  const { kill: signal, tracker } = running;
  tracker.enter('starting another QEMU');
  const blocks = await abortable(signal, ownBlocks(first));
  const planned = blocks.filter((block) => block.planned);
  const described = await abortable(signal, describeMachine(vm, first));
  const request = { vm, booted, description: fromSaved(described), blocks: planned };
  await using twin = await startTwin(request, running);
  const sizes = await abortable(signal, diskSizes(first.qemu.qmp));
  // the exit of a twin that fails closes its files
  const opening = openDiskCopies(twin.machine.qemu, { planned: copied, sizes, folder, signal });
  const disks = await abortable(signal, opening);
  const pages = await pageCopies(first.qemu, twin.machine.qemu, { blocks: twin.privately, signal });
  const rest = await abortable(signal, captureRest(vm, first, blocks));
  await pages.copy();
  await abortable(signal, flushImages(first));
  const taps = await abortable(signal, prepareTaps(first));
  const consoles = await preparePass(booted.consoles, first);
  const { stream, ownPages, pauseMs } = await switchOver({
    running: first,
    twin,
    disks,
    pages,
    consoles,
    taps,
    roms: blocks.filter((block) => !block.planned),
    tracker,
    signal,
    setCurrent: (isTwin) => setMachine(isTwin ? twin.machine : first),
    onStopped,
  });
  disks.run();
  watchAllBursts(twin.machine);
  // until the snapshot is complete, the contents are compared with those of the former base
  const former = first.snapshotBase;
  twin.machine.snapshotBase = former && { ...former, ownPages: new Map() };
  onContinued({ machine: twin.machine, pauseMs });
  log.info(`the VM continues as pid ${twin.machine.qemu.pid} after a pause of ${pauseMs.toFixed(1)} ms`);
  const own = new Map(planned.map(({ name }) => [name, ownPages.get(name) ?? []]));
  const states = Promise.resolve({ described, stream });
  return { ...rest, states, ownPages: own, disks };
}
