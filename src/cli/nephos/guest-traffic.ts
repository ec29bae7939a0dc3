import { buffer } from 'node:stream/consumers';
import { PassThrough } from 'node:stream';
import type { Guest } from '../../guest/guest.ts';
import type { VmEntry } from '../../run/vm-directory/vm-directories.ts';
import { abortable } from '../../util/abortable.ts';
import { openGuest } from './open-guest.ts';

/** Time limit of one measurement, in milliseconds: a guest that is paused, or still boots, does not answer. */
const MEASURE_MS = 3000;

/** Bytes over a guest's networks since its boot. */
export interface Traffic {
  readonly received: number;
  readonly sent: number;
}

/** Reads the traffic of guests, over one connection for each. Disposal closes them. */
export interface TrafficReader extends AsyncDisposable {
  /** Returns undefined for a guest that does not answer in time. Never rejects. */
  readonly read: (entry: VmEntry) => Promise<Traffic | undefined>;
}

/**
 * Creates a reader for guests with user-mode networking, whose bytes neither QEMU nor the host counts. It reads the file `/proc/net/dev`
 * of the guest by SFTP, which needs no program of the image.
 */
export function createTrafficReader(): TrafficReader {
  const guests = new Map<string, Guest>();
  const connect = async (entry: VmEntry, signal: AbortSignal): Promise<Guest> => {
    const { id } = entry.record;
    const guest = guests.get(id) ?? (await openGuest(entry, signal));
    guests.set(id, guest);
    return guest;
  };
  const measure = async (entry: VmEntry, signal: AbortSignal): Promise<Traffic> => {
    const guest = await connect(entry, signal);
    const file = new PassThrough();
    const [bytes] = await Promise.all([
      buffer(file),
      guest.download('/proc/net/dev', file, { signal }).catch((error: unknown) => {
        file.destroy();
        throw error;
      }),
    ]);
    return parseTraffic(bytes.toString('latin1'));
  };
  return {
    read: async (entry) => {
      const signal = AbortSignal.timeout(MEASURE_MS);
      try {
        return await abortable(signal, measure(entry, signal));
      } catch {
        // the next measurement connects again
        const guest = guests.get(entry.record.id);
        guests.delete(entry.record.id);
        await guest?.[Symbol.asyncDispose]();
        return undefined;
      }
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...guests.values()].map((guest) => guest[Symbol.asyncDispose]()));
    },
  };
}

/** Sums the bytes of all interfaces but the loopback (proc_pid_net(5): eight numbers received, eight sent). */
export function parseTraffic(text: string): Traffic {
  const rows = [...text.matchAll(/^ *([^\s:]+):\s*(\d+)(?:\s+\d+){7}\s+(\d+)/gm)].filter(
    ([, name]) => name !== 'lo',
  );
  const sum = (column: 2 | 3): number => rows.reduce((all, row) => all + Number(row[column]), 0);
  return { received: sum(2), sent: sum(3) };
}
