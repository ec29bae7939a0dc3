import { ApiError } from '../../api/errors.ts';
import { encodeVmConfig } from '../../config/vm-config.ts';
import { zonesOf } from '../../devices/memory.ts';
import { connectLink } from '../../host/link.ts';
import { isDirectory } from '../../host/ram-backing.ts';
import { sendMachine } from '../../qemu/migration.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import type { Run } from '../run.ts';
import { describeMachine } from '../snapshot/describe.ts';
import { checkSaveable } from '../snapshot/saveable.ts';
import type { Vm } from '../vm.ts';
import { addressOf } from './address.ts';
import { parseAnswer, type Offer } from './messages.ts';

const log = createLog('move');

/**
 * Sends a running VM to a VMM that waits for one. The VM is Paused when this returns; where it rejects, with ApiError and the
 * reason, it runs on.
 */
export async function sendVm(vm: Vm, run: Run, url: string): Promise<void> {
  const address = addressOf(url);
  await checkMovable(vm, run);
  const started = performance.now();
  const { signal } = vm.waits;
  try {
    using link = await connectLink(address, signal);
    const offer: Offer = { config: encodeVmConfig(vm.config), machine: await describeMachine(vm, run) };
    link.send(offer);
    const { refused } = parseAnswer(await link.receive());
    if (refused !== undefined) throw new Error(`the receiver refused: ${refused.join(': ')}`);
    const fd = await link.take();
    await sendMachine(run.qemu, fd, {
      // emulation misses some of what a guest writes meanwhile: a guest that ran on was broken at the other end
      live: run.accelerator !== 'tcg',
      signal,
      onPass: (pass) => log.info(`pass ${pass} over the RAM is done`),
    });
  } catch (error) {
    throw new ApiError('failed', `${url}: the VM could not be sent`, { cause: new Error(reasonOf(error)) });
  }
  vm.state = 'Paused';
  log.info(`${url}: sent in ${Math.round(performance.now() - started)} ms`);
}

/** The rule for snapshots, and no file that both machines would write: what the one sends would undo what the other did. */
async function checkMovable({ config }: Vm, run: Run): Promise<void> {
  await checkSaveable(run, 'be sent');
  for (const zone of zonesOf(config.memory)) {
    if (zone.file === undefined || !zone.shared || (await isDirectory(zone.file))) continue;
    throw new ApiError('failed', `memory zone ${zone.id}: cannot be sent: it is the file ${zone.file}`);
  }
}
