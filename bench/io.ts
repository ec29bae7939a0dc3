// Throughput in the guest: this project's, and plain QEMU's with the same machine, back-ends and options. Both guests
// work in turns, and the one that does not is paused; the guest's own clock counts.
import { measureDisks, nullDisks } from './io-disks.ts';
import { measureNet } from './io-net.ts';

/** One part of the bench: measures `rounds` times and prints its rows. */
type Part = (rounds: number) => Promise<void>;

/** `null` is QEMU beside another of itself: how far from 1.00 is chance. Only where it is asked for. */
const PARTS: Readonly<Record<string, Part>> = { disk: measureDisks, net: measureNet, null: nullDisks };

/** `npm run bench -- io [rounds] [disk|net|null]` */
export async function benchIo([rounds = '24', only]: readonly string[]): Promise<void> {
  for (const name of only === undefined ? ['disk', 'net'] : [only]) {
    const measure = PARTS[name];
    if (measure === undefined) throw new Error(`io has ${Object.keys(PARTS).join(', ')}, not "${name}"`);
    await measure(Number(rounds));
  }
}
