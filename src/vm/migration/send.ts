import { ApiError } from '../../api/errors.ts';
import { encodeVmConfig, portableVmConfig } from '../../config/vm-config.ts';
import { zonesOf } from '../../devices/memory/zones.ts';
import { connectMigration } from '../../host/migration/migration-connection.ts';
import { isDirectory } from '../../host/memory/ram-backing.ts';
import { migrationStatus } from '../../qemu/qmp/device-state.ts';
import { sendMachine, type SendOptions } from '../../qemu/qmp/migration.ts';
import type { ShutdownSignals } from '../../util/shutdown-signals.ts';
import { reasonOf } from '../../util/errno.ts';
import { joinSome } from '../../util/clip.ts';
import { createLog } from '../../util/log.ts';
import { shownAmount, tellProgress } from '../progress.ts';
import type { Machine } from '../machine.ts';
import { describeMachine } from '../machine-state/describe-machine.ts';
import { checkDevicesMigrate, flushDevices, hasUnsavedDevices, whileSaveable } from '../devices/states.ts';
import { checkSaveable } from '../machine-state/saveable.ts';
import { lifecycleEvent, type OnVmEvent } from '../events.ts';
import type { Vm } from '../vm.ts';
import { addressOf } from './address.ts';
import { parseAnswer, type Offer } from './messages.ts';

const log = createLog('move');

/** How long a receiver may take until its QEMU waits, in milliseconds: it may wait for back-ends of its devices first. */
const ANSWER_MS = 180_000;

/** Where a VM is sent, and who is told. */
export interface Sending {
  readonly url: string;
  readonly signals: ShutdownSignals;
  readonly emit: OnVmEvent;
}

/**
 * Sends a running VM to a VMM that waits for one. The VM is Paused when this returns; where it rejects, with ApiError and the
 * reason, it runs on. Events tell of it once the other side takes the VM.
 */
export async function sendVm(vm: Vm, machine: Machine, { url, signals, emit }: Sending): Promise<void> {
  const address = addressOf(url);
  await checkMovable(vm, machine);
  const started = performance.now();
  const { waits: signal } = signals;
  // a guest that runs could release a device that the receiver was told of
  let isTold = false;
  const stopsFirst = hasUnsavedDevices(machine) || machine.detaching.size > 0;
  try {
    // what we tell of devices that QEMU does not save must be their last word
    if (stopsFirst) await machine.qemu.qmp.execute('stop');
    await flushDevices(machine);
    using link = await connectMigration(address, signal);
    const config = encodeVmConfig(portableVmConfig(vm.config));
    const description = await describeMachine(vm, machine);
    const offer: Offer = { config, machine: description };
    link.send(offer);
    const { refused } = parseAnswer(await link.receive(ANSWER_MS));
    if (refused !== undefined) throw new Error(`the receiver refused: ${joinSome(refused, ': ')}`);
    const fd = await link.take();
    emit(lifecycleEvent('pausing'));
    isTold = true;
    const options: SendOptions = {
      // emulation misses some of what a guest writes meanwhile: a guest that ran on was broken at the other end
      live: machine.accelerator !== 'tcg',
      signal,
      onPass: (pass) => log.info(`pass ${pass} over the RAM is done`),
    };
    using _progress = tellProgress(log, async () => {
      const { remaining, total } = await migrationStatus(machine.qemu);
      return `${url}: ${shownAmount({ done: total - remaining, total })} of RAM is sent`;
    });
    await whileSaveable(machine, description, () => sendMachine(machine.qemu, fd, options));
  } catch (error) {
    if (stopsFirst) await machine.qemu.qmp.execute('cont').catch(() => undefined);
    if (isTold) for (const event of ['resuming', 'resumed'] as const) emit(lifecycleEvent(event));
    throw new ApiError('failed', `${url}: the VM could not be sent`, {
      cause: new Error(reasonOf(error), { cause: error }),
    });
  }
  if (vm.state !== 'Paused') vm.change('send-migration');
  emit(lifecycleEvent('paused'));
  log.info(`${url}: sent in ${Math.round(performance.now() - started)} ms`);
}

/** The rule for snapshots, nothing that is in no file but this machine's, and no file that both machines would write: what the one sends would undo what the other did. */
async function checkMovable({ config }: Vm, machine: Machine): Promise<void> {
  await checkSaveable(machine, 'be sent');
  await checkDevicesMigrate(machine);
  for (const zone of zonesOf(config.memory)) {
    if (zone.file === undefined || !zone.shared || (await isDirectory(zone.file))) continue;
    throw new ApiError('failed', `memory zone ${zone.id}: cannot be sent: it is the file ${zone.file}`);
  }
}
