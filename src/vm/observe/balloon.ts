import type { Qmp } from '../../qemu/qmp/connection.ts';

/**
 * Sets the size of the balloon in `bytes`. Returns at once: the guest's driver inflates or deflates it when it is loaded and the guest
 * runs.
 */
export async function setBalloon(qmp: Qmp, size: number): Promise<void> {
  // QEMU's value is the RAM that stays with the guest, and it ignores 0
  await qmp.execute('balloon', { value: Math.max(1, (await balloonableRam(qmp)) - size) });
}

/** Returns the size of the guest's balloon, in `bytes`. */
export async function readBalloon(qmp: Qmp): Promise<number> {
  const [answer, ram] = await Promise.all([qmp.execute('query-balloon'), balloonableRam(qmp)]);
  return Math.max(0, ram - answer.actual);
}

/** Returns the RAM from which QEMU subtracts the balloon, in `bytes`: that at the start and the DIMMs. */
async function balloonableRam(qmp: Qmp): Promise<number> {
  const summary = await qmp.execute('query-memory-size-summary');
  const devices = await qmp.execute('query-memory-devices');
  const dimms = devices.filter(({ type }) => type === 'dimm');
  return dimms.reduce((total, { size }) => total + size, summary['base-memory']);
}
