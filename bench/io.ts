// Throughput in the guest, for Nephos and for plain QEMU with the same machine, back-ends and options. The guests run in
// turns while the other is paused. The guest's own clock counts.
import { measureDisks, nullDisks } from './io-disks.ts';
import { measureNet } from './io-net.ts';

/** Part of the bench: measures `rounds` times and prints its rows. */
type Part = (rounds: number) => Promise<void>;

/** Parts of the bench. `null` compares QEMU with QEMU, which shows the deviation by chance. It runs on request only. */
const PARTS: Readonly<Record<string, Part>> = { disk: measureDisks, net: measureNet, null: nullDisks };

/** `npm run bench -- io [rounds] [disk|net|null]` */
export async function benchIo([rounds = '24', only]: readonly string[]): Promise<void> {
  for (const name of only === undefined ? ['disk', 'net'] : [only]) {
    const measure = PARTS[name];
    if (measure === undefined) throw new Error(`io has ${Object.keys(PARTS).join(', ')}, not "${name}"`);
    await measure(Number(rounds));
  }
}
