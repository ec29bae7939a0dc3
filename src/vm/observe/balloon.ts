import type { Qmp } from '../../qemu/qmp/connection.ts';
import { isMessage } from '../../qemu/qmp/messages.ts';

/**
 * Tells the balloon its size in `bytes`. It answers at once: the guest's driver inflates or deflates by itself, as soon
 * as it is there and the guest runs.
 */
export async function setBalloon(qmp: Qmp, size: number): Promise<void> {
  // QEMU wants to hear what the guest is to keep, and takes 0 for nothing said
  await qmp.execute('balloon', { value: Math.max(1, (await balloonableRam(qmp)) - size) });
}

/** What the guest's balloon holds, in `bytes`. */
export async function readBalloon(qmp: Qmp): Promise<number> {
  const [answer, ram] = await Promise.all([qmp.execute('query-balloon'), balloonableRam(qmp)]);
  return isMessage(answer) ? Math.max(0, ram - Number(answer['actual'])) : 0;
}

/** The RAM that QEMU's balloon counts from, in `bytes`: the boot's and the DIMMs'. */
async function balloonableRam(qmp: Qmp): Promise<number> {
  const summary = await qmp.execute('query-memory-size-summary');
  const devices = await qmp.execute('query-memory-devices');
  const base = isMessage(summary) ? Number(summary['base-memory']) : 0;
  const dimms = (Array.isArray(devices) ? devices : []).map((device: unknown) => dimmSize(device));
  return dimms.reduce((total, bytes) => total + bytes, base);
}

function dimmSize(device: unknown): number {
  if (!isMessage(device) || device['type'] !== 'dimm' || !isMessage(device['data'])) return 0;
  return Number(device['data']['size']);
}
