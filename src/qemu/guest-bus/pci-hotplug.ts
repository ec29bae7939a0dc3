import type { GuestBus } from './guest-bus.ts';
import type { Qemu } from '../process/qemu.ts';
import { deferred } from '../../util/deferred.ts';
import { QemuError } from '../process/qemu-error.ts';
import { inBackground } from '../../util/background.ts';

/*
 * Registers of QEMU's ACPI hot-plug of PCI devices (docs/specs/acpi_pci_hotplug in QEMU's documentation), for the machine type
 * `pc`.
 */

const PORT = 0xae00;
const EJECT = PORT + 0x08;
const SELECT_BUS = PORT + 0x10;

/** Deadline for the removal, in milliseconds: QEMU removes a device at once. */
const REMOVAL_MS = 20_000;

interface Ejected {
  /** id in QEMU */
  readonly id: string;
  /** slot on bus 0 */
  readonly slot: number;
}

/** Removes a device from a machine whose vCPUs are stopped, without its guest. Rejects with QemuError. */
export async function ejectDevice(qemu: Qemu, { ports }: GuestBus, { id, slot }: Ejected): Promise<void> {
  const gone = deferred<void>();
  const stopListening = qemu.onEvent((message) => {
    if (message.event === 'DEVICE_DELETED' && message.data.device === id) gone.resolve();
  });
  gone.promise.catch(() => undefined);
  const onExit = qemu.ended.then(({ detail }) => gone.reject(new QemuError(`QEMU ended: ${detail}`)));
  inBackground('QEMU', onExit);
  const late = new QemuError(`QEMU did not remove the device within ${REMOVAL_MS / 1000} s`, id);
  const timer = setTimeout(() => gone.reject(late), REMOVAL_MS).unref();
  try {
    // QEMU refuses a second request for the same device
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
