import { ApiError } from '../../api/errors.ts';
import { encodeVmConfig, portableVmConfig } from '../../config/vm-config.ts';
import { zonesOf } from '../../devices/memory/zones.ts';
import { connectMigration } from '../../host/migration/migration-connection.ts';
import { isDirectory } from '../../host/memory/ram-backing.ts';
import { migrationStatus } from '../../qemu/qmp/device-state.ts';
import { sendMachine, type SendOptions } from '../../qemu/qmp/migration.ts';
import type { OperationTracker, RunningOperation } from '../../util/operation-tracker.ts';
import { inBackground } from '../../util/background.ts';
import { reasonOf } from '../../util/errno.ts';
import { joinSome } from '../../util/clip.ts';
import { createLog } from '../../util/log.ts';
import { shownAmount, logProgress } from '../progress.ts';
import type { Machine } from '../machine.ts';
import { describeMachine } from '../machine-state/describe-machine.ts';
import { checkDevicesMigrate, flushDevices, hasUnsavedDevices, whileSaveable } from '../devices/states.ts';
import { checkSaveable } from '../machine-state/saveable.ts';
import { lifecycleEvent, type OnVmEvent } from '../events.ts';
import type { Vm } from '../vm.ts';
import { addressOf } from './address.ts';
import { parseAnswer, type Offer } from './messages.ts';

/*
 * Live migration between two VMMs over one connection. The source offers configuration and description of its machine (`messages.ts`).
 * The destination starts a machine that waits, and answers. Then QEMU sends RAM and states over the same connection.
 *
 *   send.ts      vm.send-migration: the VM is Paused afterwards, or continues if the migration fails
 *   receive.ts   vm.receive-migration, a recipe of launch/; sender.ts: connection of the destination to the source
 *
 * Invariant: the guest runs on at most one host. The source resumes it only after the destination has refused or QEMU has failed.
 */

const log = createLog('move');

/** Time limit of the destination until its QEMU waits, in milliseconds. It may wait for back-ends of its devices first. */
const ANSWER_MS = 180_000;

/** A live migration: URL of the destination, signals that end it, and the receiver of its events. */
export interface Sending {
  readonly url: string;
  readonly running: RunningOperation;
  readonly emit: OnVmEvent;
}

/**
 * Sends a running VM to a VMM that waits for it. The VM is Paused when this returns. Rejects with ApiError naming the
 * reason; the VM continues to run then. Events are emitted once the destination accepts the VM.
 */
export async function sendVm(vm: Vm, machine: Machine, { url, running, emit }: Sending): Promise<void> {
  const address = addressOf(url);
  await checkMigration(vm, machine);
  const started = performance.now();
  const { waits: signal, tracker } = running;
  tracker.enter('waiting for the destination');
  let isAccepted = false;
  // a running guest could release a device after the description was made
  const stopsFirst = hasUnsavedDevices(machine) || machine.detaching.size > 0;
  try {
    // and states of devices that QEMU does not save are read while the guest is stopped
    if (stopsFirst) await machine.qemu.qmp.execute('stop');
    await flushDevices(machine);
    using link = await connectMigration(address, signal);
    const config = encodeVmConfig(portableVmConfig(vm.config));
    const description = await describeMachine(vm, machine);
    const offer: Offer = { config, machine: description };
    link.send(offer);
    const { refused } = parseAnswer(await link.receive(ANSWER_MS));
    if (refused !== undefined) throw new Error(`the receiver refused: ${joinSome(refused, ': ')}`);
    emit(lifecycleEvent('pausing'));
    isAccepted = true;
    const options: SendOptions = {
      // with emulation QEMU misses some writes of a running guest, and the guest fails at the destination
      live: machine.accelerator !== 'tcg',
      signal,
      commit: () => tracker.commit('The destination takes over: the VM was sent'),
      onPass: (pass) => log.info(`pass ${pass} over the RAM is done`),
    };
    using _amount = followAmount(machine.qemu, tracker);
    using _progress = logProgress(log, async () => {
      const { remaining, total } = await migrationStatus(machine.qemu);
      return `${url}: ${shownAmount({ done: total - remaining, total })} of RAM is sent`;
    });
    // detached last: until then `link` closes the connection where a step fails
    await whileSaveable(machine, description, async () =>
      sendMachine(machine.qemu, await link.detach(), options),
    );
  } catch (error) {
    if (stopsFirst) await machine.qemu.qmp.execute('cont').catch(() => undefined);
    if (isAccepted) for (const event of ['resuming', 'resumed'] as const) emit(lifecycleEvent(event));
    throw new ApiError('failed', `${url}: the VM could not be sent`, {
      cause: new Error(reasonOf(error), { cause: error }),
    });
  }
  if (vm.state !== 'Paused') vm.change('send-migration');
  emit(lifecycleEvent('paused'));
  log.info(`${url}: sent in ${Math.round(performance.now() - started)} ms`);
}

/** Interval in which QEMU's progress is read for the client, in milliseconds. */
const AMOUNT_MS = 200;

/** Reads QEMU's progress for the client of an operation until it is disposed of. */
function followAmount(qemu: Machine['qemu'], tracker: OperationTracker): Disposable | undefined {
  const amount = { done: 0, total: 0 };
  tracker.enter('sending memory', amount);
  if (!tracker.isTracked) return undefined;
  const update = async (): Promise<void> => {
    const { remaining, total } = await migrationStatus(qemu);
    Object.assign(amount, { done: total - remaining, total });
  };
  const timer = setInterval(() => inBackground('progress cannot be read', update()), AMOUNT_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/**
 * Checks that a VM can be sent. Its state can be saved. No file has contents of this machine only. No file is written by both
 * machines: each would overwrite the data of the other.
 */
async function checkMigration({ config }: Vm, machine: Machine): Promise<void> {
  await checkSaveable(machine, 'be sent');
  await checkDevicesMigrate(machine);
  for (const zone of zonesOf(config.memory)) {
    if (zone.file === undefined || !zone.shared || (await isDirectory(zone.file))) continue;
    throw new ApiError('failed', `memory zone ${zone.id}: cannot be sent: it is the file ${zone.file}`);
  }
}
