import type { GuestBus } from './guest-bus.ts';
import type { Qemu } from '../process/qemu.ts';
import { deferred } from '../../util/deferred.ts';
import { QemuError } from '../process/qemu-error.ts';
import { inBackground } from '../../util/background.ts';

/*
 * The registers by which a guest's ACPI tables answer QEMU's hot-plug of PCI devices (docs/specs/acpi_pci_hotplug in QEMU's
 * documentation), for the machine type `pc`.
 */

const PORT = 0xae00;
const EJECT = PORT + 0x08;
const SELECT_BUS = PORT + 0x10;

/** How long QEMU may take, in milliseconds: it does it at once. */
const PATIENCE_MS = 20_000;

interface Ejected {
  /** QEMU's */
  readonly id: string;
  /** on bus 0 */
  readonly slot: number;
}

/** Takes a device out of a machine that stands still, without a word to its guest. It is gone when this returns. */
export async function ejectDevice(qemu: Qemu, { ports }: GuestBus, { id, slot }: Ejected): Promise<void> {
  const gone = deferred<void>();
  const stopListening = qemu.onEvent((message) => {
    if (message.event === 'DEVICE_DELETED' && message.data.device === id) gone.resolve();
  });
  gone.promise.catch(() => undefined);
  const onExit = qemu.ended.then(({ detail }) => gone.reject(new QemuError(`QEMU ended: ${detail}`)));
  inBackground('QEMU', onExit);
  const late = new QemuError(`QEMU did not take the device out within ${PATIENCE_MS / 1000} s`, id);
  const timer = setTimeout(() => gone.reject(late), PATIENCE_MS).unref();
  try {
    // one that the guest was asked for already is not asked for again
    await qemu.qmp.execute('device_del', { id }).catch(() => undefined);
    const selected = await ports.read(SELECT_BUS, 4);
    await ports.write(SELECT_BUS, 4, 0);
    await ports.write(EJECT, 4, 2 ** slot);
    await ports.write(SELECT_BUS, 4, selected);
    await gone.promise;
  } finally {
    clearTimeout(timer);
    stopListening();
  }
}
