// Throughput in the guest: this project's, and plain QEMU's with the same machine, back-ends and options. Both guests
// run at the same time and work in turns; the guest's own clock counts.
import { measureDisks } from './io-disks.ts';
import { measureNet } from './io-net.ts';

/** One half of the bench: measures `rounds` times and prints its rows. */
type Half = (rounds: number) => Promise<void>;

const HALVES: Readonly<Record<string, Half>> = { disk: measureDisks, net: measureNet };

/** `npm run bench -- io [rounds] [disk|net]` */
export async function benchIo([rounds = '5', only]: readonly string[]): Promise<void> {
  console.log(`${''.padEnd(30)}   nephos     qemu          nephos / qemu (of medians; of each round)`);
  for (const [name, measure] of Object.entries(HALVES)) {
    if (only === undefined || only === name) await measure(Number(rounds));
  }
}
