import type { Qmp } from '../../qemu/qmp/connection.ts';

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
  return Math.max(0, ram - answer.actual);
}

/** The RAM that QEMU's balloon counts from, in `bytes`: the boot's and the DIMMs'. */
async function balloonableRam(qmp: Qmp): Promise<number> {
  const summary = await qmp.execute('query-memory-size-summary');
  const devices = await qmp.execute('query-memory-devices');
  const dimms = devices.filter(({ type }) => type === 'dimm');
  return dimms.reduce((total, { size }) => total + size, summary['base-memory']);
}
