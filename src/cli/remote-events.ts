import { readEvents } from '../sdk/events.ts';
import type { RemoteCall } from './remote-arguments.ts';
import { commandError } from './sdk-error.ts';

/** Writes a text. @returns false once the output has no reader */
export type WriteText = (text: string) => Promise<boolean>;

/**
 * Prints the events that the VMM keeps, with `--follow` also further ones until the VMM exits. Each is a line of JSON with the members of
 * the event monitor. Rejects with CommandError.
 */
export async function printEvents({ socketPath, switches }: RemoteCall, write: WriteText): Promise<void> {
  try {
    for await (const { timestamp, source, event, ...rest } of readEvents(socketPath, {
      after: 0,
      follow: switches.includes('follow'),
    })) {
      const properties = 'properties' in rest ? rest.properties : null;
      if (!(await write(`${JSON.stringify({ timestamp, source, event, properties })}\n`))) return;
    }
  } catch (error) {
    throw commandError(error);
  }
}
