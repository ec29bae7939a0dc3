import { UsageError } from '../../flags.ts';
import { hostAddress } from '../ports.ts';
import { VerbError, type CommandLine } from '../verb.ts';
import { findNamedVm } from '../vms.ts';

/** Prints the published ports of a VM. */
export async function run({ operands: [name = '', wanted] }: CommandLine): Promise<number> {
  const { record } = await findNamedVm(name);
  if (wanted === undefined) {
    for (const port of record.ports)
      process.stdout.write(`${port.guestPort}/${port.protocol} -> ${hostAddress(port)}\n`);
    return 0;
  }
  const [, number, protocol = 'tcp'] = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(wanted) ?? [];
  if (number === undefined)
    throw new UsageError(`nephos port: ${JSON.stringify(wanted)} is no port`, 'expected e.g. 80 or 53/udp');
  const found = record.ports.filter(
    (port) => port.guestPort === Number(number) && port.protocol === protocol,
  );
  if (found.length === 0)
    throw new VerbError(
      `port ${number}/${protocol} of ${record.name} is not published`,
      `nephos port ${record.name} shows the published ports`,
    );
  for (const port of found) process.stdout.write(`${hostAddress(port)}\n`);
  return 0;
}
