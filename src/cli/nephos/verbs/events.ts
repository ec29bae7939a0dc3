import { setTimeout as delay } from 'node:timers/promises';
import { followEvents, type ShownEvent } from '../follow-events.ts';
import { printable } from '../text.ts';
import { readWord } from '../values.ts';
import type { CommandLine } from '../verb.ts';
import { findNamedVm } from '../vms.ts';

/** Interval between two looks at the directories of VMs, in milliseconds. */
const POLL_MS = 200;

/** Prints events of VMs until it is interrupted. */
export async function run(line: CommandLine): Promise<number> {
  const format = readWord('format', line.value('format') ?? 'table', ['table', 'json']);
  const names: string[] = [];
  for (const text of line.operands) names.push((await findNamedVm(text)).record.name);
  const poll = await followEvents(names);
  while (!process.stdout.destroyed) {
    for (const event of await poll())
      process.stdout.write(format === 'json' ? showJsonLine(event) : showLine(event));
    await delay(POLL_MS);
  }
  return 0;
}

function showJsonLine(event: ShownEvent): string {
  return `${JSON.stringify(event)}\n`;
}

function showLine({ time, name, event, source, properties }: ShownEvent): string {
  const details = Object.entries(properties).map(([key, value]) => `${key}=${value}`);
  return `${printable([time, name, source, event, ...details].join(' '))}\n`;
}
