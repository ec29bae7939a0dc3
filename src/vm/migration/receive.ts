import type { NetConnectOpts } from 'node:net';
import { ApiError, errorChain } from '../../api/errors.ts';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import { type VmConfig } from '../../config/vm-config.ts';
import { acceptMigration, type MigrationConnection } from '../../host/migration/migration-connection.ts';
import { receiveMachine } from '../../qemu/qmp/migration.ts';
import type { ShutdownSignals } from '../../util/shutdown-signals.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { openConsoles } from '../consoles.ts';
import type { Machine } from '../machine.ts';
import { launchMachine, type Start } from '../launch/machine.ts';
import { checkEngine } from '../machine-state/describe-machine.ts';
import { activateImages, expectedImages } from '../machine-state/images.ts';
import { likeStart } from '../machine-state/restored-machine.ts';
import { planWithoutStates, restoreStates } from '../devices/states.ts';
import { parseDescription } from '../machine-state/machine-description.ts';
import { Vm } from '../vm.ts';
import { addressOf } from './address.ts';
import { parseOffer, type Answer } from './messages.ts';

const log = createLog('move');

/** How long a sender may take to say what it sends, in milliseconds. */
const OFFER_MS = 60_000;

/**
 * Waits for another VMM to send its VM, and takes it: it is Paused, with all that it had. Rejects with ApiError and the reason,
 * which the sender is told as well, and leaves nothing behind. `signals` end it. `onConfig` is called with the configuration before
 * anything is made from it.
 */
export async function receiveVm(
  url: string,
  signals: ShutdownSignals,
  onConfig: (config: VmConfig) => void,
): Promise<Vm> {
  const address = addressOf(url);
  log.info(`${url}: waiting for a VM`);
  try {
    using link = await accept(url, address, signals.waits);
    return await takeVm(link, signals, onConfig).catch((error: unknown) => {
      refuse(link, error);
      throw error;
    });
  } catch (error) {
    throw new ApiError('failed', `${url}: no VM could be received`, { cause: error });
  }
}

function accept(url: string, address: NetConnectOpts, signal: AbortSignal): Promise<MigrationConnection> {
  return acceptMigration(address, signal).catch((error: unknown) => {
    throw new Error(`${url}: cannot be listened on: ${reasonOf(error)}`, { cause: error });
  });
}

function refuse(link: MigrationConnection, error: unknown): void {
  const answer: Answer = { refused: errorChain(error) };
  link.send(answer);
}

async function takeVm(
  link: MigrationConnection,
  signals: ShutdownSignals,
  onConfig: (config: VmConfig) => void,
): Promise<Vm> {
  const offer = parseOffer(await link.receive(OFFER_MS));
  const { config } = decodeVmConfig(offer.config);
  onConfig(config);
  const description = parseDescription(offer.machine);
  const rawImages = new Set<string>();
  const start = likeStart(config, description, rawImages);
  const consoles = await openConsoles(config);
  const began = performance.now();
  try {
    const begin = async (machine: Machine): Promise<void> => {
      checkEngine(machine, description, 'The VM cannot be taken');
      await start.begin(machine);
      const ready: Answer = {};
      await receiveMachine(machine.qemu, await link.take(ready));
      await activateImages(machine);
      await restoreStates(machine, description);
    };
    const adapt: Start['adapt'] = (plan) => planWithoutStates(start.adapt(plan), start.layout);
    const machine = await launchMachine(
      { ...start, images: expectedImages(description, config), adapt, begin },
      consoles,
      signals,
    );
    log.info(`received in ${Math.round(performance.now() - began)} ms`);
    return Vm.adopt({ consoles, machine }, 'receive-migration', rawImages);
  } catch (error) {
    consoles.dispose();
    throw error;
  }
}
